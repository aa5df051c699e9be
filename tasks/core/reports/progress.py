"""How far a run has come, in a sentence."""

import time

from tasks.core.runs.run import Run
from tasks.core.text import count, dollars


def progress_sentence(run: Run) -> str:
    """Return one line: images done and left, pace, share of the quota, 429s, price, time left.

    The pace is that of the last minute; once all is done, that of the whole.
    """
    if run.plan is None:
        return "Listing the bucket and planning."
    progress = run.progress
    left = progress.total - progress.done
    if progress.total == 0:
        return "Nothing has to be embedded."
    answers = progress.answers + progress.others.answers
    deferrals = progress.deferrals + progress.others.deferrals
    progress.pace.note(time.monotonic(), answers)
    pace = progress.pace.per_second
    # Embedding ends before the run does.
    if left == 0 and (span := run.spans.get("embed_batches")):
        pace = answers / max(span[1] - span[0], 1e-9)
    quota = 60 * pace / run.options.requests_per_minute
    return (
        f"{progress.done:,} of {count(progress.total, 'image')}, {left:,} left;"
        f" {pace:,.1f} images/s, {quota:.0%} of the quota; {count(deferrals, '429')};"
        f" {dollars(answers * run.model.price)} so far; {_time_left(left, pace)}"
    )


def _time_left(images: int, pace: float) -> str:
    if images == 0:
        return "done"
    if pace == 0:
        return "time left not known yet"
    seconds = images / pace
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"about {seconds / size:,.0f} {unit} left"
    return f"about {seconds:.0f} s left"
