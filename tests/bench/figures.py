"""What a benchmark found: figures, each beside a yardstick of the same session, and their bars."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rich.console import Console
from rich.table import Table

FILE_WIDTH = 120
"""Characters a line where the output is no terminal, which would say itself."""

ROUNDED_FROM = 100


@dataclass(frozen=True, slots=True)
class Bar:
    """What a figure has to keep to.

    Attributes:
        measure: what is held against the limit: the figure itself, its difference from the
            yardstick, or its ratio to it.
        side: on which side of the limit it must lie.
        limit: in the figure's unit, or a ratio.
    """

    measure: Literal["figure", "difference", "ratio"]
    side: Literal["at least", "at most"]
    limit: float


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured figure.

    Attributes:
        name: what was measured.
        value: the figure.
        yardstick: the same of what it is compared with, from the same session.
        against: what it is compared with.
        unit: of figure and yardstick.
        bar: None where the figure is only shown.
    """

    name: str
    value: float
    yardstick: float
    against: str
    unit: str
    bar: Bar | None = None

    @property
    def ratio(self) -> float:
        """The figure as a multiple of its yardstick."""
        return self.value / self.yardstick if self.yardstick else float("inf")

    @property
    def held(self) -> bool:
        """Whether the bar was held; always so where there is none."""
        if self.bar is None:
            return True
        measured = {
            "figure": self.value,
            "difference": self.value - self.yardstick,
            "ratio": self.ratio,
        }[self.bar.measure]
        if self.bar.side == "at least":
            return measured >= self.bar.limit
        return measured <= self.bar.limit

    def bar_text(self) -> str:
        """Return the bar, and what was held against it."""
        if self.bar is None:
            return "none"
        side, limit = self.bar.side, self.bar.limit
        if self.bar.measure == "ratio":
            return f"{side} {limit:.0%}"
        if self.bar.measure == "figure":
            return f"{side} {limit:g} {self.unit}"
        return f"{side} {limit:g} {self.unit} more; {self.value - self.yardstick:+,.2f} found"


def machine_load() -> float:
    """Return how many processes wanted a processor in the last minute, on average."""
    return os.getloadavg()[0]


def show(title: str, figures: Sequence[Figure], caption: str) -> None:
    """Print the figures of one benchmark as a table."""
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        caption=caption,
        caption_justify="left",
    )
    for heading in ("figure", "measured", "compared with", "ratio", "bar", "held"):
        table.add_column(heading, overflow="fold")
    for figure in figures:
        mark = "" if figure.bar is None else "yes" if figure.held else "[bold red]NO"
        table.add_row(
            figure.name,
            f"{_number(figure.value)} {figure.unit}",
            f"{figure.against}: {_number(figure.yardstick)} {figure.unit}",
            f"{figure.ratio:.3f}",
            figure.bar_text(),
            mark,
        )
    console = Console()
    if not console.is_terminal:
        console.width = FILE_WIDTH
    console.print(table)


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= ROUNDED_FROM else f"{value:.3g}"
