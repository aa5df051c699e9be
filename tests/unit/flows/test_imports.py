"""A run imports what it needs: a worker starts a process for each."""

import subprocess
import sys

import pytest

NOT_FOR_A_START = {"pandas", "cv2", "cyclopts", "google.cloud.aiplatform_v1", "onnxruntime"}
FLOWS = ("check_index", "embed_images", "embed_shard", "find_duplicates", "find_similar")

WITHOUT_A_CALL = """
import asyncio, sys
from tasks.core.google.vertex import open_embedder
from tasks.core.settings import Settings

async def run():
    settings = Settings(vertex_endpoint="http://127.0.0.1:9")
    async with open_embedder(settings, "multimodalembedding@001", 128) as embedder:
        {then}

asyncio.run(run())
print(*sys.modules)
"""


def modules(program: str) -> set[str]:
    """Return the modules that a program has imported when it prints them."""
    command = [sys.executable, "-c", program]
    return set(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())


@pytest.mark.parametrize("flow", FLOWS)
def test_a_flow_starts_without_what_only_some_runs_need(flow: str) -> None:
    imported = modules(f"import sys, flows.{flow}; print(*sys.modules)")
    assert f"flows.{flow}" in imported
    assert imported & NOT_FOR_A_START == set()


@pytest.mark.parametrize(("then", "needed"), [("pass", False), ("await embedder.connect()", True)])
def test_googles_package_is_imported_for_the_first_call(then: str, *, needed: bool) -> None:
    imported = modules(WITHOUT_A_CALL.format(then=then))
    assert ("google.cloud.aiplatform_v1" in imported) == needed
