"""What task runs are called: what is done, to how many images, of where.

Functions for Prefect's task_run_name. Its type for those that take the parameters has a classmethod
that no function has, so mypy is told at each task.
"""

from typing import Any

from tasks.core.runs.run import current_run
from tasks.core.text import count, printable
from tasks.core.types import Batch, Counts

FEWEST_DIGITS = 4
LONGEST_PLACE = 60
"""Characters of a bucket and prefix in a name; a prefix may have 1,024."""


def place(bucket: str, prefix: str) -> str:
    """Return a bucket and prefix on one line, the middle left out where they are long."""
    text = printable(f"{bucket}/{prefix}")
    half = LONGEST_PLACE // 2
    return text if len(text) <= LONGEST_PLACE else f"{text[: half - 1]}…{text[-half:]}"


def numbers(batch: Batch) -> str:
    """Return the numbers of a batch's images, as wide as the total's, so that names sort."""
    digits = max(FEWEST_DIGITS, len(str(batch.total)))
    return f"{batch.first:0{digits}}-{batch.last:0{digits}}"


def listing_name(parameters: dict[str, Any]) -> str:
    """Return the name of a list_images run."""
    return f"list gs://{place(parameters['bucket'], parameters['prefix'])}"


def embed_name(parameters: dict[str, Any]) -> str:
    """Return the name of an embed_batch run."""
    options = current_run().options
    return f"embed {numbers(parameters['batch'])} of {place(options.bucket, options.prefix)}"


def insert_name(parameters: dict[str, Any]) -> str:
    """Return the name of an insert_batch run."""
    counts: Counts = parameters["counts"]
    return f"insert {count(counts.embedded, 'vector')} of {numbers(parameters['batch'])}"


def plan_name() -> str:
    """Return the name of a plan_sync run."""
    return f"plan sync of {count(current_run().listed, 'image')}"


def verify_name() -> str:
    """Return the name of a verify run."""
    return f"verify {count(current_run().listed, 'image')}"


def publish_name(parameters: dict[str, Any]) -> str:
    """Return the name of a publish run."""
    return f"publish {count(current_run().listed, 'image')} as {parameters['index']}"


def ask_name(parameters: dict[str, Any]) -> str:
    """Return the name of an ask_index run."""
    images = count(parameters["question"].count, "image")
    return f"ask {parameters['index']} for {images}"
