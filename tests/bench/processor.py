"""Processor time of a process and all that came from it, by proc(5)."""

import os
from pathlib import Path

TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


def processor_seconds(pid: int) -> float:
    """Return what a process and its descendants took so far, those that have ended included."""
    stats = dict(_read_stats())
    family, ticks = {pid}, 0
    while family:
        ticks += sum(stats[member][1] for member in family if member in stats)
        family = {child for child, (parent, _) in stats.items() if parent in family}
    return ticks / TICKS_A_SECOND


def _read_stats() -> list[tuple[int, tuple[int, int]]]:
    """Return (process, (its parent, ticks of it and of its children that have ended))."""
    stats = []
    for file in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = file.read_text(encoding="utf-8", errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        fields = text.rpartition(")")[2].split()
        stats.append((int(file.parent.name), (int(fields[1]), sum(map(int, fields[11:15])))))
    return stats
