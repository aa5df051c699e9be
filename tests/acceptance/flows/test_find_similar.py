"""Asking an index from a terminal and through Prefect."""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import ArtifactFilter
from prefect.exceptions import PrefectHTTPStatusError

from deployments.local.stack import Stack
from deployments.local.storage.samples import DEMO_QUERY
from tests.acceptance.conftest import SamplesRun
from tests.acceptance.flows.test_deployments import reaching
from tests.acceptance.programs import Program
from tests.acceptance.recorded import artifact_of

FIND = "find-similar/find-similar"
INDEX = "asked"


def program(run: SamplesRun, name: str, **changes: str) -> Program:
    """Return another program of ours, for the index of the samples."""
    return replace(run.program, name=name, environment={**run.program.environment, **changes})


@pytest.fixture
def asking(samples_run: SamplesRun) -> Program:
    """`birdwalk similar` where there is a Prefect server."""
    return program(samples_run, "birdwalk similar")


@pytest.fixture
def asking_alone(samples_run: SamplesRun, tmp_path: Path) -> Program:
    """`birdwalk similar` where there is none."""
    changes = {"PREFECT_API_URL": "", "PREFECT_HOME": str(tmp_path / "prefect")}
    return program(samples_run, "birdwalk similar", **changes)


async def test_a_sentence_is_answered_with_a_table_a_picture_and_a_run(
    asking: Program, prefect_client: PrefectClient
) -> None:
    finished = await asking.run("--text", "a plane in the sky", "--count", "4")
    assert finished.status == 0, finished.err
    assert "Nearest to “a plane in the sky”" in finished.out
    assert [name.split("/")[0] for name, _ in finished.neighbours] == ["planes"] * 4
    with Image.open(finished.fact("picture")) as sheet:
        assert sheet.format == "PNG"
        assert sheet.width >= 800
    run = await prefect_client.read_flow_run(finished.flow_run_id)
    assert run.name == "similar to a plane in the sky"
    assert run.state is not None
    assert run.state.message is not None
    assert run.state.message.startswith("4 images nearest to “a plane in the sky”")
    page = await artifact_of(prefect_client, run.id, "similar-images")
    assert "data:image/png;base64," in str(page.data)
    assert str(page.data).count("alt=media") == 4
    assert len(str(page.data)) < 220_000


async def test_without_a_prefect_server_none_is_started(asking_alone: Program) -> None:
    finished = await asking_alone.run("--image-id", DEMO_QUERY, "--count", "5")
    assert finished.status == 0, finished.err
    assert finished.err == ""
    assert all(name.startswith("planes/") for name, _ in finished.neighbours)
    assert len(finished.neighbours) == 5
    assert finished.fact("run") == "not recorded: no Prefect server"
    with Image.open(finished.fact("picture")) as sheet:
        assert sheet.format == "PNG"


async def test_json_is_one_object_on_standard_output(
    asking: Program, asking_alone: Program
) -> None:
    question = ("--image-id", DEMO_QUERY, "--count", "3", "--metric", "cosine", "--json")
    answers = []
    for one in (asking, asking_alone):
        finished = await one.run(*question, "--uploaded-after", "2020-01-01")
        assert finished.status == 0, finished.err
        answers.append(json.loads(finished.out))
    recorded, alone = answers
    assert recorded.pop("run").startswith("http://127.0.0.1:")
    assert alone.pop("run") is None
    assert recorded == alone
    assert alone["question"]["uploaded_after"] == "2020-01-01T00:00:00+00:00"
    assert [found["rank"] for found in alone["neighbours"]] == [1, 2, 3]
    assert (alone["calls"], alone["warnings"]) == (0, [])
    assert alone["space"]["index"] == "image_embeddings"


async def test_a_local_picture_is_asked_with(
    asking_alone: Program, samples_run: SamplesRun, tmp_path: Path
) -> None:
    assert samples_run
    Image.new("RGB", (2000, 1500), "#a6d8f5").save(tmp_path / "my sky.jpg")
    finished = await asking_alone.run("--file", str(tmp_path / "my sky.jpg"))
    assert finished.status == 0, finished.err
    assert "Nearest to my sky.jpg" in finished.out
    assert len(finished.neighbours) == 10
    assert finished.fact("asked").endswith("1 call")


ERRORS: Mapping[tuple[str, ...], str] = {
    (): "InvalidInput: Asked with nothing. Give exactly one of",
    ("--text", "a", "--image-id", "b"): "InvalidInput: Asked with image_id and text.",
    ("--image-id", "airplane.png"): "UnknownImage: .* Did you mean 'planes/airplane.png'?",
    ("--file", "no such.png"): "UnreadablePicture: no such.png cannot be read",
    ("--text", "a bird", "--index", "none"): "UnknownIndex: Index 'none' does not exist",
    ("--text", "x" * 1024 + "y"): "1024",
    ("--text", "a bird", "--count", "101"): "101",
    ("--text", "a bird", "--metric", "dot"): "l2.*cosine.*inner_product",
}


@pytest.mark.parametrize("arguments", ERRORS, ids=lambda words: " ".join(words)[:40] or "nothing")
async def test_an_error_is_said_on_standard_error_and_nothing_is_printed(
    asking_alone: Program, arguments: tuple[str, ...]
) -> None:
    finished = await asking_alone.run(*arguments, "--json")
    assert finished.status in {1, 2}
    assert finished.out == ""
    assert re.search(ERRORS[arguments], finished.err, re.DOTALL), finished.err
    assert "Traceback" not in finished.err


async def test_a_question_through_the_api_is_answered_by_the_worker(
    worker_stack: Stack, prefect_client: PrefectClient
) -> None:
    assert worker_stack
    embed = await prefect_client.read_deployment_by_name("embed-images/embed-images")
    wanted = {"index": INDEX, "prefix": "birds/", "requests_per_minute": 60_000}
    run = await prefect_client.create_flow_run_from_deployment(embed.id, parameters=wanted)
    await reaching(prefect_client, run, "Completed")
    find = await prefect_client.read_deployment_by_name(FIND)
    asked = {"index": INDEX, "text": "flamingo", "count": 2, "metric": "inner_product"}
    run = await prefect_client.create_flow_run_from_deployment(find.id, parameters=asked)
    run = await reaching(prefect_client, run, "Completed")
    assert run.name == "similar to flamingo"
    page = await artifact_of(prefect_client, run.id, "similar-images")
    assert "birds/flamingo" in str(page.data)


async def test_the_form_has_bounds_dropdowns_and_descriptions(
    worker_stack: Stack, prefect_client: PrefectClient
) -> None:
    assert worker_stack
    deployment = await prefect_client.read_deployment_by_name(FIND)
    schema = deployment.parameter_openapi_schema
    assert schema is not None
    fields = schema["properties"]
    assert all(field.get("description") for field in fields.values())
    assert fields["metric"]["enum"] == ["l2", "cosine", "inner_product"]
    assert (fields["count"]["minimum"], fields["count"]["maximum"]) == (1, 100)
    wrong: list[dict[str, object]] = [{"count": 0}, {"metric": "dot"}, {"uri": "bird.png"}]
    for parameters in wrong:
        with pytest.raises(PrefectHTTPStatusError) as refused:
            await prefect_client.create_flow_run_from_deployment(
                deployment.id, parameters={"text": "a bird", **parameters}
            )
        assert (
            f"Validation failed for field '{next(iter(parameters))}'" in refused.value.response.text
        )


async def test_duplicates_are_listed_and_shown(
    samples_run: SamplesRun, prefect_client: PrefectClient
) -> None:
    finished = await program(samples_run, "birdwalk duplicates").run("--distance", "0.3")
    assert finished.status == 0, finished.err
    groups = re.match(r"(\d+) groups of (\d+) images", finished.fact("found"))
    assert groups is not None
    listed = pd.read_csv(finished.fact("CSV"))
    assert len(listed) == int(groups[2])
    assert "planes/airplane-mirrored.png" in set(listed["image_id"])
    assert finished.out.startswith("The groups")
    printed = {word for word in finished.out.split() if word.endswith((".png", ".jpg"))}
    assert set(listed["image_id"]) <= printed
    with Image.open(finished.fact("picture")) as sheet:
        assert sheet.width > 300
        assert len(sheet.convert("RGB").getcolors(1 << 24) or ()) > 50
    assert Path(finished.fact("picture")).parent == Path(finished.fact("CSV")).parent
    found = await prefect_client.read_artifacts(
        artifact_filter=ArtifactFilter.model_validate({"key": {"any_": ["duplicates"]}})
    )
    assert "data:image/png;base64," in str(found[0].data)
