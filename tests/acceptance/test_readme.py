"""What the README says to type works as it is written."""

import asyncio
import os
import re
import sys
from pathlib import Path

import pytest

from deployments.local.stack import Stack

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)

# These run elsewhere: the demo and the tests by themselves, the last on a Google project.
ELSEWHERE = ("make demo", "prefect deploy --all")


@pytest.mark.skipif(
    Path(sys.prefix) != ROOT / ".venv", reason="the README's commands use the checkout's own .venv"
)
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
    )
    output, errors = await asyncio.wait_for(shell.communicate(), 240)
    shown = output.decode()
    assert shell.returncode == 0, errors.decode()[-3000:]
    assert "Nearest to planes/airplane.png" in shown
    assert "planes/airplane-mirrored.png" in shown
    assert "(5 rows)" in shown  # psql
    assert re.search(r"\[\d+ rows x 129 columns\]", shown)  # pandas


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
