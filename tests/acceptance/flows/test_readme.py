"""What the README says to type works as it is written."""

import asyncio
import os
import re
import signal
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from PIL import Image

from deployments.local.stack import Stack
from tests.acceptance.browser import difference
from tests.acceptance.conftest import SamplesRun

ROOT = Path(__file__).parents[3]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)

# These run elsewhere: the demo and the tests by themselves, the last on a Google project.
ELSEWHERE = ("make demo", ".venv/bin/prefect deploy --all")


@pytest.mark.skipif(
    Path(sys.prefix) != ROOT / ".venv", reason="the README's commands use the checkout's own .venv"
)
@pytest.mark.timeout(900)
async def test_the_commands_that_look_at_the_result_work(
    prefect_stack: Stack, stack_directory: Path, tmp_path: Path
) -> None:
    assert prefect_stack.addresses.prefect_api_url
    (tmp_path / "local").symlink_to(stack_directory)
    script = "\n".join(block for block in BLOCKS if not block.startswith(ELSEWHERE))
    shell = await asyncio.create_subprocess_exec(
        *("bash", "-euo", "pipefail", "-c", script),
        cwd=ROOT,
        env={**os.environ, "BIRDWALK_DATA_DIRECTORY": str(tmp_path), "MAKEFLAGS": ""},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        output, errors = await asyncio.wait_for(shell.communicate(), 800)
    finally:
        with suppress(ProcessLookupError):  # or what it started would go on beside other tests
            os.killpg(shell.pid, signal.SIGKILL)
    shown = output.decode()
    assert shell.returncode == 0, errors.decode()[-3000:]
    assert "Nearest to planes/airplane.png" in shown
    assert "planes/airplane-mirrored.png" in shown
    assert "(5 rows)" in shown  # psql
    assert re.search(r"\[\d+ rows x 129 columns\]", shown)  # pandas


def test_the_readmes_first_picture_is_what_a_run_on_the_samples_draws(
    samples_run: SamplesRun,
) -> None:
    shown, drawn = ROOT / "docs/nearest-neighbours.png", Path(samples_run.finished.fact("picture"))
    again = "draw it anew: make pictures"
    with Image.open(shown) as ours, Image.open(drawn) as theirs:
        assert ours.size == theirs.size, again
    assert difference(shown.read_bytes(), drawn) < 0.5, again


def test_every_target_the_readme_names_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    named = re.findall(r"make ((?:[a-z-]+ ?)+?)(?=[`\n]| +#| [A-Z])", README)
    assert named
    assert {target for words in named for target in words.split()} <= targets


def test_every_path_the_readme_links_to_exists() -> None:
    links = re.findall(r"\]\((?!https?://)([^)#]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
