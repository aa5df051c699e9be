"""Read and steer the local model server from a test."""

from dataclasses import dataclass, replace

from deployments.local.vertex.options import ModelServerOptions
from tests.support.servers.statistics import (
    ModelServerStatistics,
    configure,
    read_statistics,
    reset_statistics,
)


@dataclass(frozen=True, slots=True)
class ModelServer:
    """The stack's model server; the fixture puts it back to its defaults after each test."""

    endpoint: str

    async def configure(self, **changes: object) -> None:
        """Change how it answers from the next call on; options not named get their defaults."""
        await configure(
            self.endpoint,
            replace(ModelServerOptions(), **changes),  # type: ignore[arg-type]  # real fields
        )

    async def reset(self) -> None:
        """Begin its counters anew."""
        await reset_statistics(self.endpoint)

    async def statistics(self) -> ModelServerStatistics:
        """Return its counters."""
        return await read_statistics(self.endpoint)

    async def calls(self) -> int:
        """Return the Predict calls since the counters were reset."""
        return (await self.statistics()).calls

    async def answers(self) -> int:
        """Return the calls that were answered with a vector, and would be paid for."""
        return ((await self.statistics()).by_code or {}).get("OK", 0)
