"""What README and docs/ say to type works as it is written."""

import asyncio
import os
import re
import signal
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from PIL import Image

from deployments.command_line import birdwalk
from deployments.local.stack import Stack
from tasks.core.settings import Settings
from tests.acceptance.browser import difference
from tests.acceptance.conftest import SamplesRun

ROOT = Path(__file__).parents[3]
README = (ROOT / "README.md").read_text()
PAGES = [README, *(path.read_text() for path in sorted((ROOT / "docs").glob("*.md")))]
BLOCKS = re.findall(r"```sh\n(.*?)```", "\n".join(PAGES), re.DOTALL)

# These run elsewhere: the demo and the tests by themselves, `up` in the tests of the local stack,
# and what registers deployments and works for them in test_deployments.
ELSEWHERE = ("make demo", "make test", "make up", "prefect ", "birdwalk automations", "export ")


@pytest.mark.skipif(
    Path(sys.prefix) != ROOT / ".venv", reason="the README's commands use the checkout's own .venv"
)
@pytest.mark.timeout(900)
async def test_the_commands_that_look_at_the_result_work(
    prefect_stack: Stack, stack_directory: Path, tmp_path: Path
) -> None:
    assert prefect_stack.addresses.prefect_api_url
    (tmp_path / "local").symlink_to(stack_directory)
    script = "\n".join(
        "\n".join(line for line in block.splitlines() if not line.startswith(ELSEWHERE))
        # The bucket of whoever reads it.
        for block in (block.replace("my-bucket", "birdwalk") for block in BLOCKS)
    )
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


def test_every_path_that_a_page_links_to_exists() -> None:
    for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        links = re.findall(r"\]\((?!https?://)([^)#]+)\)", path.read_text())
        assert [link for link in links if not (path.parent / link).exists()] == []


def test_every_command_that_a_page_names_exists() -> None:
    named = {name for page in PAGES for name in re.findall(r"birdwalk ([a-z]+(?:-[a-z]+)*)`", page)}
    assert named
    assert named <= set(birdwalk())


def test_every_setting_has_its_line_in_operating() -> None:
    operating = (ROOT / "docs/operating.md").read_text()
    local = {"local_directory"}  # the local stack's own
    names = {f"BIRDWALK_{name.upper()}" for name in Settings.model_fields if name not in local}
    assert {name for name in names if name not in operating} == set()
