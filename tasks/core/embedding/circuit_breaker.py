"""When a run must not go on asking: answers that every image would get, or none at all."""

import math

from tasks.core.embedding.outcomes import most_leftovers
from tasks.core.errors import QuotaExceeded, SystemicFailure, UnexplainedFailure
from tasks.core.runs.run import Run

UNEXPLAINED_IN_A_ROW = 10
"""Answers that are neither vectors nor about an image, one after another, that stop a run."""

GIVEN_UP_IN_A_ROW = 10
"""Images given up one after another, no other answered between, that stop a run while more wait:
otherwise each of them would take its whole time budget."""


def stop_after_several(run: Run, error: UnexplainedFailure) -> None:
    """Count an answer that nobody can explain.

    Raises:
        SystemicFailure: ten came in a row, and more images are unanswered than may be left.
    """
    run.progress.unexplained_in_a_row += 1
    if run.progress.unexplained_in_a_row < UNEXPLAINED_IN_A_ROW:
        return
    # A few bad images are left again by every run: they must not keep it from publishing the rest.
    if _unanswered(run) > most_leftovers(run.listed, run.options.max_leftovers):
        raise SystemicFailure(
            f"{UNEXPLAINED_IN_A_ROW} answers in a row were not about an image: {error} The run"
            " stopped; what was embedded is kept. Check the model, its location and the"
            " parameters."
        ) from error


def _unanswered(run: Run) -> float:
    """Return how many of the run's images have no answer yet, as far as is known."""
    answered = sum(one.answers + one.refused + one.gone for one in run.counts.values())
    return run.progress.total - answered if run.progress.total else math.inf


def stop_in_an_outage(run: Run, error: Exception) -> None:
    """Count an image that was given up.

    Raises:
        SystemicFailure: too many were in a row, and more images wait for the same.
    """
    progress = run.progress
    progress.given_up_in_a_row += 1
    # The last images of a run may be the bad ones: nobody else is left to be answered.
    if progress.given_up_in_a_row >= GIVEN_UP_IN_A_ROW and progress.has_more:
        minutes = run.settings.image_time_budget_seconds / 60
        raise SystemicFailure(
            f"The model answered nothing for about {minutes:.0f} minutes: {GIVEN_UP_IN_A_ROW}"
            f" images in a row were given up, the last with: {error} The run stopped; what was"
            " embedded is kept. Run again when the service is well."
        ) from error


def slow_down(run: Run, error: QuotaExceeded) -> None:
    """Pace the run's calls as a 429 asks.

    Raises:
        SystemicFailure: for as long as an image may take, every answer was a 429.
    """
    run.limiter.slow_down(error.retry_after)
    budget = run.settings.image_time_budget_seconds
    if run.limiter.seconds_refused > budget:
        raise SystemicFailure(
            f"For {budget:.0f} seconds every call was over the quota: {error} Ask for a larger"
            " quota, or wait until nobody else uses it. What was embedded is kept."
        ) from error
