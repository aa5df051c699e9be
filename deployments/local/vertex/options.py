"""How the local Vertex AI server behaves: its options, and the command line that sets them."""

import argparse
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

import grpc
import orjson

from deployments.local.errors import StackError

LatencyDistribution = Literal["fixed", "lognormal"]

ERROR_CODES = frozenset(code.name for code in grpc.StatusCode if code is not grpc.StatusCode.OK)


@dataclass(frozen=True, slots=True)
class ModelServerOptions:
    """How the server answers; by default as fast and as well as it can.

    Attributes:
        requests_per_minute: the quota, handed out evenly, with a burst of one second's worth (at
            least three calls); None means no limit. Calls over it get RESOURCE_EXHAUSTED.
        latency_seconds: mean time added to each call within the quota.
        latency_distribution: `fixed`, or `lognormal` with the same mean and a long tail.
        latency_sigma: of the lognormal distribution: the standard deviation of its logarithm.
        error_rates: share of calls within the quota, by gRPC code, answered with that code:
            {"UNAVAILABLE": 0.02}. UNAUTHENTICATED falls only on images given by gcsUri, with the
            text of Google's failed reads.
        errors_by_name: objects whose every call by gcsUri is answered with a gRPC code:
            {"broken.png": "UNAVAILABLE"}.
        seed: of errors and latencies; the n-th call within the quota always fares the same.
        denied: answer every call with PERMISSION_DENIED.
        instant: answer with a unit vector drawn from the hash of the uri, bytes or text: nothing
            is fetched and no model is run. For measuring everything else.
        record: file to which each answer about a picture is added before it leaves
            (record.py); None keeps no record.
    """

    requests_per_minute: float | None = None
    latency_seconds: float = 0.0
    latency_distribution: LatencyDistribution = "fixed"
    latency_sigma: float = 0.5
    error_rates: dict[str, float] = field(default_factory=dict)
    errors_by_name: dict[str, str] = field(default_factory=dict)
    seed: int = 0
    denied: bool = False
    instant: bool = False
    record: str | None = None

    def __post_init__(self) -> None:
        """Refuse values that cannot work.

        Raises:
            StackError: an option is out of its range, or names an unknown code or distribution.
        """
        if self.requests_per_minute is not None and self.requests_per_minute <= 0:
            raise StackError(
                f"requests_per_minute is {self.requests_per_minute}; expected more than 0, "
                "or nothing for no limit"
            )
        if self.latency_seconds < 0 or self.latency_sigma < 0:
            raise StackError("latency_seconds and latency_sigma cannot be negative")
        if self.latency_distribution not in get_args(LatencyDistribution):
            raise StackError(
                f"unknown latency distribution {self.latency_distribution!r}; "
                "expected fixed or lognormal"
            )
        for code in (*self.error_rates, *self.errors_by_name.values()):
            if code not in ERROR_CODES:
                raise StackError(f"unknown gRPC code {code!r}; expected such as UNAVAILABLE")
        for code, rate in self.error_rates.items():
            if not 0 <= rate <= 1:
                raise StackError(f"the error rate of {code} is {rate}; expected 0 to 1")
        if sum(self.error_rates.values()) > 1:
            raise StackError("the error rates add up to more than 1")

    def to_json(self) -> bytes:
        """Return the options as Statistics/Configure takes them."""
        return orjson.dumps(asdict(self))

    @classmethod
    def from_json(cls, data: bytes) -> "ModelServerOptions":
        """Return the options `to_json` wrote.

        Raises:
            StackError: not JSON, an unknown option, or a value that cannot work.
        """
        try:
            return cls(**orjson.loads(data))
        except (orjson.JSONDecodeError, TypeError) as error:
            raise StackError(f"cannot read the model server's options: {error}") from error


def command_line(options: ModelServerOptions) -> tuple[str, ...]:
    """Return the arguments that give a new server these options; defaults are left out."""
    default = ModelServerOptions()
    arguments: list[str] = []
    for name in ("requests_per_minute", "latency_seconds", "latency_distribution", "record"):
        if getattr(options, name) != getattr(default, name):
            arguments += [_flag(name), str(getattr(options, name))]
    for name in ("latency_sigma", "seed"):
        if getattr(options, name) != getattr(default, name):
            arguments += [_flag(name), str(getattr(options, name))]
    for code, rate in options.error_rates.items():
        arguments += ["--error", f"{code}={rate}"]
    for name, code in options.errors_by_name.items():
        arguments += ["--error-for", f"{name}={code}"]
    arguments += [_flag(name) for name in ("denied", "instant") if getattr(options, name)]
    return tuple(arguments)


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


@dataclass(frozen=True, slots=True)
class Arguments:
    """What the command line says."""

    port: int
    storage_endpoint: str
    options: ModelServerOptions


def parse_arguments(arguments: Sequence[str] | None = None) -> Arguments:
    """Read the command line; on a mistake print usage and exit with status 2."""
    parser = argparse.ArgumentParser(
        prog="python -m deployments.local.vertex.server",
        description="Answer multimodalembedding@001 as Vertex AI does, on loopback.",
    )
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--storage-endpoint", required=True, metavar="URL")
    parser.add_argument("--requests-per-minute", type=float)
    parser.add_argument("--latency-seconds", type=float, default=0.0)
    parser.add_argument(
        "--latency-distribution", choices=get_args(LatencyDistribution), default="fixed"
    )
    parser.add_argument("--latency-sigma", type=float, default=0.5)
    parser.add_argument(
        "--error", type=_error_rate, action="append", default=[], metavar="CODE=RATE"
    )
    parser.add_argument(
        "--error-for", type=_error_for, action="append", default=[], metavar="NAME=CODE"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--denied", action="store_true")
    parser.add_argument("--instant", action="store_true")
    parser.add_argument("--record", metavar="FILE")
    values: dict[str, Any] = vars(parser.parse_args(arguments))
    port, storage_endpoint = values.pop("port"), values.pop("storage_endpoint")
    values["error_rates"] = dict(values.pop("error"))
    values["errors_by_name"] = dict(values.pop("error_for"))
    try:
        return Arguments(port, storage_endpoint, ModelServerOptions(**values))
    except StackError as error:
        parser.error(str(error))


def _error_for(text: str) -> tuple[str, str]:
    name, _, code = text.rpartition("=")
    return name, code


def _error_rate(text: str) -> tuple[str, float]:
    code, _, rate = text.partition("=")
    return code, float(rate)
