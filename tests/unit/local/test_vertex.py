import asyncio
import math
import statistics
from pathlib import Path
from typing import Any

import grpc
import pytest

from deployments.local.__main__ import app
from deployments.local.errors import StackError
from deployments.local.vertex.errors import PredictionFault
from deployments.local.vertex.options import ModelServerOptions
from deployments.local.vertex.traffic import TokenBucket, Traffic
from tests.support.servers.statistics import CallCounter

ENDPOINT = "projects/p/locations/l/publishers/google/models/multimodalembedding@001"

EVERYTHING = ModelServerOptions(
    requests_per_minute=600,
    latency_seconds=0.15,
    latency_distribution="lognormal",
    latency_sigma=0.3,
    error_rates={"UNAVAILABLE": 0.02, "UNAUTHENTICATED": 0.01},
    errors_by_name={"a=b c.png": "INTERNAL"},
    seed=7,
    denied=True,
    instant=True,
)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def traffic_of(options: ModelServerOptions) -> Traffic:
    return Traffic(options, asyncio.Event())


def outcomes(traffic: Traffic, calls: int, *, by_uri: bool = True) -> list[str]:
    names = []
    for _ in range(calls):
        try:
            traffic.fail(by_uri=by_uri)
            names.append("OK")
        except PredictionFault as fault:
            names.append(fault.code.name)
    return names


def test_a_quota_is_handed_out_evenly() -> None:
    clock = Clock()
    bucket = TokenBucket(600, clock)
    assert [bucket.take() for _ in range(11)] == [True] * 10 + [False]
    taken = 0
    for _ in range(6000):
        clock.now += 0.01
        taken += bucket.take()
    assert taken == pytest.approx(600, abs=1)


def test_an_idle_quota_saves_up_no_more_than_a_second() -> None:
    clock = Clock()
    bucket = TokenBucket(1200, clock)
    clock.now += 3600
    assert sum(bucket.take() for _ in range(100)) == 20


def test_a_small_quota_still_allows_a_burst_of_three() -> None:
    bucket = TokenBucket(6, Clock())
    assert [bucket.take() for _ in range(4)] == [True, True, True, False]


def test_a_quotas_answer_is_googles() -> None:
    traffic = traffic_of(ModelServerOptions(requests_per_minute=0.001))
    for _ in range(3):
        traffic.admit(ENDPOINT)
    with pytest.raises(PredictionFault) as caught:
        traffic.admit(ENDPOINT)
    assert caught.value.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert caught.value.message == (
        "Quota exceeded for aiplatform.googleapis.com/online_prediction_requests_per_base_model "
        "with base model: multimodalembedding. Please submit a quota increase request."
    )


def test_errors_come_at_their_rates_and_the_same_each_time() -> None:
    options = ModelServerOptions(error_rates={"UNAVAILABLE": 0.2, "INTERNAL": 0.1}, seed=3)
    first = outcomes(traffic_of(options), 4000)
    assert first == outcomes(traffic_of(options), 4000)
    assert first.count("UNAVAILABLE") / 4000 == pytest.approx(0.2, abs=0.02)
    assert first.count("INTERNAL") / 4000 == pytest.approx(0.1, abs=0.02)
    other = ModelServerOptions(error_rates=options.error_rates, seed=4)
    assert first != outcomes(traffic_of(other), 4000)


def test_read_deadlines_fall_on_images_given_by_uri_only() -> None:
    traffic = traffic_of(ModelServerOptions(error_rates={"UNAUTHENTICATED": 1.0}))
    assert outcomes(traffic, 2, by_uri=False) == ["OK", "OK"]
    with pytest.raises(PredictionFault, match="failed with the following error: Deadline"):
        traffic.fail(by_uri=True)


def test_an_error_for_a_name_falls_on_every_call_for_it_and_on_no_other() -> None:
    traffic = traffic_of(ModelServerOptions(errors_by_name={"a.png": "UNAVAILABLE"}))
    for _ in range(3):
        traffic.fail(by_uri=True, name="b.png")
        with pytest.raises(PredictionFault, match="UNAVAILABLE"):
            traffic.fail(by_uri=True, name="a.png")


def test_lognormal_latency_keeps_its_mean_and_has_a_tail() -> None:
    traffic = traffic_of(
        ModelServerOptions(latency_seconds=0.2, latency_distribution="lognormal", latency_sigma=0.5)
    )
    draws = [traffic.draw_latency() for _ in range(20_000)]
    assert statistics.fmean(draws) == pytest.approx(0.2, rel=0.03)
    assert statistics.stdev(map(math.log, draws)) == pytest.approx(0.5, rel=0.03)


def test_fixed_latency_is_the_same_for_every_call() -> None:
    traffic = traffic_of(ModelServerOptions(latency_seconds=0.2))
    assert {traffic.draw_latency() for _ in range(10)} == {0.2}


def test_the_stacks_command_line_has_every_option_of_the_model_server() -> None:
    arguments = [
        *("--requests-per-minute", "600", "--latency-seconds", "0.15"),
        *("--latency-distribution", "lognormal", "--latency-sigma", "0.3"),
        *("--error-rates.UNAVAILABLE", "0.02", "--error-rates.UNAUTHENTICATED=0.01"),
        *("--errors-by-name", '{"a=b c.png": "INTERNAL"}'),
        *("--seed", "7", "--denied", "--instant"),
    ]
    _, bound, _ = app.parse_args(["run", *arguments])
    assert bound.arguments["started"].model == EVERYTHING


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["run", "--error-rates.SLOW", "0.1"], "unknown gRPC code 'SLOW'"),
        (["run", "--error-rates.INTERNAL", "often"], "Invalid value"),
        (["run", "--speed", "4"], "Unknown option"),
        (["status", "--instant"], "Unknown option"),
    ],
)
def test_an_option_that_cannot_be_read_ends_the_command_with_the_reason(
    arguments: list[str], complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises((SystemExit, StackError)) as ended:
        app([*arguments, "--state-directory", str(tmp_path)])
    assert complaint in f"{ended.value} {capsys.readouterr()}"


def test_options_read_back_from_json() -> None:
    assert ModelServerOptions.from_json(EVERYTHING.to_json()) == EVERYTHING


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"requests_per_minute": 0}, "requests_per_minute is 0"),
        ({"latency_seconds": -1}, "cannot be negative"),
        ({"latency_distribution": "normal"}, "expected fixed or lognormal"),
        ({"error_rates": {"OK": 0.1}}, "unknown gRPC code 'OK'"),
        ({"errors_by_name": {"a.png": "OK"}}, "unknown gRPC code 'OK'"),
        ({"error_rates": {"INTERNAL": 1.5}}, "expected 0 to 1"),
        ({"error_rates": {"INTERNAL": 0.6, "UNKNOWN": 0.6}}, "more than 1"),
    ],
)
def test_options_that_cannot_work_are_refused(values: dict[str, Any], reason: str) -> None:
    with pytest.raises(StackError, match=reason):
        ModelServerOptions(**values)


@pytest.mark.parametrize("data", [b"", b"[]", b'{"speed": 1}', b'{"denied": '])
def test_options_that_do_not_parse_are_refused(data: bytes) -> None:
    with pytest.raises(StackError, match="cannot read the model server's options"):
        ModelServerOptions.from_json(data)


def test_the_counter_tells_answers_accepted_and_given_up_apart() -> None:
    counter = CallCounter()
    assert counter.read().first_call_at is None
    for code in ("OK", "RESOURCE_EXHAUSTED", "CANCELLED"):
        counter.begin()
        if code != "RESOURCE_EXHAUSTED":
            counter.accept()
        counter.end(code)
    read = counter.read()
    assert (read.calls, read.accepted, read.most_in_flight) == (3, 2, 1)
    assert read.by_code == {"OK": 1, "RESOURCE_EXHAUSTED": 1, "CANCELLED": 1}
    counter.reset()
    assert counter.read().calls == 0
