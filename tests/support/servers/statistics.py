"""What the tests' Vertex AI server counts, and how tests and benchmarks read and steer it.

A second service on the server's port, `birdwalk.local.Statistics`, whose messages are JSON:

    Read        nothing -> ModelServerStatistics
    Reset       nothing -> nothing; counting begins anew
    Configure   ModelServerOptions -> nothing; they hold from the next call on
"""

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import grpc
import orjson

from deployments.local.errors import StackError
from deployments.local.vertex.options import ModelServerOptions

SERVICE = "birdwalk.local.Statistics"
CALL_TIMEOUT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class ModelServerStatistics:
    """What happened since the start, or since the counters were reset.

    Attributes:
        calls: Predict calls that were answered or given up by the client.
        accepted: those that permission and quota let in.
        by_code: answers by gRPC code; CANCELLED are calls the client gave up.
        most_in_flight: the most calls at work at one moment.
        first_call_at: when the first call came in, in Unix seconds; None before it.
        last_call_at: when the last call came in.
        first_accepted_at: when the first call came in that permission and quota let in.
        last_accepted_at: when the last such call came in.
    """

    calls: int = 0
    accepted: int = 0
    by_code: Mapping[str, int] | None = None
    most_in_flight: int = 0
    first_call_at: float | None = None
    last_call_at: float | None = None
    first_accepted_at: float | None = None
    last_accepted_at: float | None = None


class CallCounter:
    """Counts the server's calls."""

    def __init__(self) -> None:
        self._in_flight = 0
        self.reset()

    def reset(self) -> None:
        """Begin anew; calls at work are counted when they end."""
        self._accepted = 0
        self._by_code: Counter[str] = Counter()
        self._most_in_flight = self._in_flight
        self._called_at: tuple[float, float] | None = None
        self._accepted_at: tuple[float, float] | None = None

    def begin(self) -> None:
        """Count a call that came in."""
        now = time.time()
        self._called_at = (self._called_at[0] if self._called_at else now, now)
        self._in_flight += 1
        self._most_in_flight = max(self._most_in_flight, self._in_flight)

    def accept(self) -> None:
        """Count a call that permission and quota let in."""
        now = time.time()
        self._accepted_at = (self._accepted_at[0] if self._accepted_at else now, now)
        self._accepted += 1

    def end(self, code: str) -> None:
        """Count a call's answer."""
        self._in_flight -= 1
        self._by_code[code] += 1

    def read(self) -> ModelServerStatistics:
        """Return the counts so far."""
        first_call_at, last_call_at = self._called_at or (None, None)
        first_accepted_at, last_accepted_at = self._accepted_at or (None, None)
        return ModelServerStatistics(
            calls=self._by_code.total(),
            accepted=self._accepted,
            by_code=dict(self._by_code),
            most_in_flight=self._most_in_flight,
            first_call_at=first_call_at,
            last_call_at=last_call_at,
            first_accepted_at=first_accepted_at,
            last_accepted_at=last_accepted_at,
        )


async def _call(endpoint: str, method: str, request: bytes = b"") -> bytes:
    address = endpoint.removeprefix("http://").rstrip("/")
    async with grpc.aio.insecure_channel(address) as channel:
        try:
            response: bytes = await channel.unary_unary(f"/{SERVICE}/{method}")(
                request, timeout=CALL_TIMEOUT_SECONDS
            )
        except grpc.aio.AioRpcError as error:
            raise StackError(
                f"the model server at {address} answered {method} with "
                f"{error.code().name}: {error.details()}"
            ) from error
    return response


async def read_statistics(endpoint: str) -> ModelServerStatistics:
    """Return the counters of a running server.

    Args:
        endpoint: the server's address, `127.0.0.1:port` or `http://127.0.0.1:port`.

    Raises:
        StackError: the server does not answer.
    """
    return ModelServerStatistics(**orjson.loads(await _call(endpoint, "Read")))


async def reset_statistics(endpoint: str) -> None:
    """Begin a running server's counters anew.

    Raises:
        StackError: the server does not answer.
    """
    await _call(endpoint, "Reset")


async def configure(endpoint: str, options: ModelServerOptions) -> None:
    """Change how a running server answers, from the next call on.

    All options are replaced: `dataclasses.replace(before, denied=True)` changes one. The quota
    begins with a full burst, and errors and latencies with the first draw of the seed.

    Raises:
        StackError: the server does not answer, or refuses the options.
    """
    await _call(endpoint, "Configure", options.to_json().encode())


def statistics_json(statistics: ModelServerStatistics) -> bytes:
    """Return the counters as Statistics/Read answers them."""
    return orjson.dumps(asdict(statistics))
