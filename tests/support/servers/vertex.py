"""The local Vertex AI server, which also counts its calls, takes new options and keeps a record.

statistics.py says what it counts and how tests read it; record.py what it writes down.
"""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc

from deployments.local.errors import StackError
from deployments.local.processes.program import Program
from deployments.local.vertex import server
from deployments.local.vertex.errors import PredictionFault
from deployments.local.vertex.options import ModelServerOptions
from deployments.local.vertex.predictor import Predictor
from deployments.local.vertex.server import Method, VertexServer
from deployments.local.vertex.wire import PredictionRequest
from tests.support.servers.record import content_of, record_answer
from tests.support.servers.statistics import SERVICE, CallCounter, statistics_json

SERVER = "tests.support.servers.vertex"
RECORD = "TESTS_MODEL_SERVER_RECORD"
"""The variable that names the file of the record; without it none is kept."""


class RecordingPredictor(Predictor):
    """Writes each answer about a picture down before it leaves."""

    def embed(self, request: PredictionRequest, picture: bytes | None) -> bytes:
        response = super().embed(request, picture)
        if picture is not None:
            record_answer(os.environ[RECORD], request.uri, content_of(picture))
        return response


class ObservedServer(VertexServer):
    """Counts its calls, and tells; takes new options while it runs."""

    def __init__(self, storage_endpoint: str, options: ModelServerOptions) -> None:
        self._counter = CallCounter()
        super().__init__(storage_endpoint, options)

    def make_predictor(self, storage_endpoint: str) -> Predictor:
        return (RecordingPredictor if RECORD in os.environ else Predictor)(storage_endpoint)

    def services(self) -> dict[str, dict[str, Method]]:
        statistics: dict[str, Method] = {
            "Read": self._read,
            "Reset": self._reset,
            "Configure": self._configure,
        }
        return {**super().services(), SERVICE: statistics}

    def admitted(self) -> None:
        self._counter.accept()

    async def answer(self, data: bytes) -> bytes:
        code = grpc.StatusCode.CANCELLED
        self._counter.begin()
        try:
            response = await super().answer(data)
            code = grpc.StatusCode.OK
        except PredictionFault as fault:
            code = fault.code
            raise
        except Exception:
            code = grpc.StatusCode.INTERNAL
            raise
        finally:
            self._counter.end(code.name)
        return response

    async def _read(self, _data: bytes, _context: Any) -> bytes:
        return statistics_json(self._counter.read())

    async def _reset(self, _data: bytes, _context: Any) -> bytes:
        self._counter.reset()
        return b""

    async def _configure(self, data: bytes, context: Any) -> bytes:
        try:
            self.configure(ModelServerOptions.from_json(data))
        except StackError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        return b""


def program(
    *,
    port: int,
    storage_endpoint: str,
    log: Path,
    options: ModelServerOptions,
    record: Path | None = None,
) -> Program:
    """Return the server as a program of a stack, with the file of its record."""
    program = server.program(
        port=port, storage_endpoint=storage_endpoint, log=log, options=options, module=SERVER
    )
    return program if record is None else replace(program, environment={RECORD: str(record)})


if __name__ == "__main__":
    server.main(ObservedServer)
