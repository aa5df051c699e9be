"""What a flow run that completed says of itself in Prefect's list of runs."""

from prefect.client.orchestration import PrefectClient

from tests.acceptance.recorded import artifact_of, task_runs_of
from tests.acceptance.shown import BROKEN, ShownRuns


def said(shown: ShownRuns, step: str) -> str:
    """Return the state message of a completed run."""
    state = shown.by_step[step].state
    assert state is not None
    assert state.is_completed(), state
    return state.message or ""


async def test_a_run_says_its_counts(shown: ShownRuns) -> None:
    message = said(shown, "sync")
    assert message.endswith(f" 0 unchanged, 0 removed, {len(BROKEN)} refused.")
    assert int(message.split()[0]) > 0
    assert said(shown, "leftovers").endswith(", 1 left for the next run.")


async def test_a_run_that_only_plans_spends_nothing_and_says_so(
    shown: ShownRuns, prefect_client: PrefectClient
) -> None:
    message = said(shown, "planned")
    assert message.startswith("Planned only: ")
    assert " calls, $" in message
    assert message.endswith("; nothing was spent.")
    run = shown.by_step["planned"].id
    assert len(await task_runs_of(prefect_client, run)) == 3, "list, create table, plan"
    progress = await artifact_of(prefect_client, run, "plan")
    assert progress.description is not None
    assert progress.description.rstrip(".") in message


async def test_a_dropped_space_is_listed_no_more(
    shown: ShownRuns, prefect_client: PrefectClient
) -> None:
    assert said(shown, "dropped").startswith("Dropped space 2 (multimodalembedding@001, ")
    listed = await artifact_of(prefect_client, shown.by_step["spaces"].id, "spaces")
    left = await artifact_of(prefect_client, shown.by_step["dropped"].id, "spaces")
    assert "crop-subject-1" in str(listed.data)
    assert "crop-subject-1" not in str(left.data)
