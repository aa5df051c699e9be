"""Let a call in, delay it or fail it before the model sees it, as the options say."""

import asyncio
import math
import random
import time
from collections.abc import Callable

import grpc

from deployments.local.vertex.errors import (
    drawn_error,
    image_read_deadline,
    permission_denied,
    quota_exceeded,
    shutting_down,
)
from deployments.local.vertex.options import ModelServerOptions

SMALLEST_BURST = 3.0
SECONDS_PER_MINUTE = 60.0


class TokenBucket:
    """A quota: a bucket of tokens that fills at the quota's pace and starts full.

    Args:
        per_minute: the quota.
        clock: monotonic seconds.
    """

    def __init__(self, per_minute: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_minute / SECONDS_PER_MINUTE
        self._capacity = max(self._per_second, SMALLEST_BURST)
        self._tokens = self._capacity
        self._clock = clock
        self._filled_at = clock()

    def take(self) -> bool:
        """Take one call's token; return False when there is none."""
        now = self._clock()
        refill = (now - self._filled_at) * self._per_second
        self._tokens = min(self._tokens + refill, self._capacity)
        self._filled_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class Traffic:
    """Decides for each call whether it is let in, how long it waits, and whether it fails.

    Args:
        options: of the server.
        ending: set when the server ends; calls that are waiting then fail.
    """

    def __init__(self, options: ModelServerOptions, ending: asyncio.Event) -> None:
        self._options = options
        self._ending = ending
        self._bucket = (
            None
            if options.requests_per_minute is None
            else TokenBucket(options.requests_per_minute)
        )
        # Two generators, so that the n-th call's error does not depend on the latency option.
        self._errors = random.Random(options.seed)  # noqa: S311 - a rehearsal, not a secret
        self._latencies = random.Random(options.seed)  # noqa: S311

    def admit(self, endpoint: str) -> None:
        """Let a call in.

        Raises:
            PredictionFault: denied, or over the quota.
        """
        if self._options.denied:
            raise permission_denied(endpoint)
        if self._bucket is not None and not self._bucket.take():
            raise quota_exceeded()

    async def delay(self) -> None:
        """Wait as long as the model would take over a call.

        Raises:
            PredictionFault: the server is ending.
        """
        seconds = self.draw_latency()
        if not seconds:
            return
        try:
            async with asyncio.timeout(seconds):
                await self._ending.wait()
        except TimeoutError:
            return
        raise shutting_down()

    def draw_latency(self) -> float:
        """Return the next call's latency in seconds."""
        mean, sigma = self._options.latency_seconds, self._options.latency_sigma
        if not mean or self._options.latency_distribution == "fixed":
            return mean
        # exp(mu + sigma^2 / 2) is a lognormal distribution's mean.
        return self._latencies.lognormvariate(math.log(mean) - sigma**2 / 2, sigma)

    def fail(self, *, by_uri: bool, name: str | None = None) -> None:
        """Fail a call if the options say so.

        Args:
            by_uri: the call gives its picture by gcsUri; only such calls can fail to read it.
            name: of the picture's object, where the call gives it.

        Raises:
            PredictionFault: the error drawn.
        """
        if name is not None and name in self._options.errors_by_name:
            self._raise(grpc.StatusCode[self._options.errors_by_name[name]], by_uri=by_uri)
        if not self._options.error_rates:
            return
        draw = self._errors.random()
        for code, rate in self._options.error_rates.items():
            draw -= rate
            if draw < 0:
                self._raise(grpc.StatusCode[code], by_uri=by_uri)
                return

    def _raise(self, code: grpc.StatusCode, *, by_uri: bool) -> None:
        if code is not grpc.StatusCode.UNAUTHENTICATED:
            raise drawn_error(code)
        if by_uri:
            raise image_read_deadline()
