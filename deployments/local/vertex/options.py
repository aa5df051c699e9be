"""How the local Vertex AI server behaves."""

from dataclasses import asdict, dataclass, field
from typing import Literal, get_args

import grpc
import orjson

from deployments.local.errors import StackError

MODEL_SERVER = "deployments.local.vertex.server"
"""The module that is run as the model server."""

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

    def __post_init__(self) -> None:
        """Check that the options can work.

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

    def to_json(self) -> str:
        """Return the options as the server's command line takes them."""
        return orjson.dumps(asdict(self)).decode()

    @classmethod
    def from_json(cls, data: str | bytes) -> "ModelServerOptions":
        """Return the options `to_json` wrote.

        Raises:
            StackError: not JSON, an unknown option, or a value that cannot work.
        """
        try:
            return cls(**orjson.loads(data))
        except (orjson.JSONDecodeError, TypeError) as error:
            raise StackError(f"cannot read the model server's options: {error}") from error
