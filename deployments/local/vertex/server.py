"""Vertex AI on loopback: PredictionService/Predict for multimodalembedding@001.

    python -m deployments.local.vertex.server --port 8085 --storage-endpoint http://127.0.0.1:4443

Pictures are fetched from the local storage server and embedded by the local model. A call goes
through permission and quota, latency and drawn errors (traffic.py), then through the checks and the
model; errors.py lists the answers. Fetching, decoding and the model run in worker threads, a few
pictures each: the loop only hands messages over.
"""

import asyncio
import logging
import signal
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc

from deployments.local.errors import StackError
from deployments.local.processes.program import Program
from deployments.local.vertex.errors import PredictionFault, internal_error
from deployments.local.vertex.instant import instant_response
from deployments.local.vertex.options import ModelServerOptions, command_line, parse_arguments
from deployments.local.vertex.record import record_answer
from deployments.local.vertex.statistics import SERVICE as STATISTICS_SERVICE
from deployments.local.vertex.statistics import CallCounter, is_answering, statistics_json
from deployments.local.vertex.traffic import Traffic
from deployments.local.vertex.wire import SERVICE as PREDICTION_SERVICE
from deployments.local.vertex.wire import decode_request, parse_request

if TYPE_CHECKING:
    from deployments.local.vertex.predictor import Predictor

logger = logging.getLogger(__name__)

# 20 MB of picture in base64, and the rest of the request.
MAXIMUM_MESSAGE_BYTES = 32 * 1024 * 1024
SHUTDOWN_GRACE_SECONDS = 1.0


class VertexServer:
    """The two services of one port.

    Args:
        storage_endpoint: address of the storage server, for pictures given by gcsUri.
        options: how to answer.
    """

    def __init__(self, storage_endpoint: str, options: ModelServerOptions) -> None:
        self._storage_endpoint = storage_endpoint
        self._counter = CallCounter()
        self._ending = asyncio.Event()
        self._predictor: Predictor | None = None
        self._server: Any = None
        self._set_options(options)

    def _set_options(self, options: ModelServerOptions) -> None:
        if not options.instant and self._predictor is None:
            # The model costs half a second; instant servers never need it.
            from deployments.local.vertex.predictor import Predictor  # noqa: PLC0415

            self._predictor = Predictor(self._storage_endpoint)
        self._options = options
        self._traffic = Traffic(options, self._ending)

    async def start(self, port: int) -> int:
        """Answer on a port of loopback, a free one if it is 0, and return it.

        Raises:
            StackError: the port is taken.
        """
        self._server = grpc.aio.server(
            options=(
                ("grpc.so_reuseport", 0),  # a second server on the port is an error
                ("grpc.max_receive_message_length", MAXIMUM_MESSAGE_BYTES),
            )
        )
        for service, methods in (
            (PREDICTION_SERVICE, {"Predict": self._predict}),
            (
                STATISTICS_SERVICE,
                {"Read": self._read, "Reset": self._reset, "Configure": self._configure},
            ),
        ):
            handlers = {
                name: grpc.unary_unary_rpc_method_handler(method)
                for name, method in methods.items()
            }
            self._server.add_generic_rpc_handlers(
                (grpc.method_handlers_generic_handler(service, handlers),)
            )
        try:
            bound: int = self._server.add_insecure_port(f"127.0.0.1:{port}")
        except RuntimeError as error:
            raise StackError(
                f"the model server cannot listen on 127.0.0.1:{port}; is the port taken?"
            ) from error
        await self._server.start()
        return bound

    async def stop(self) -> None:
        """End calls at work, at the latest after a second, and let go of port and threads."""
        self._ending.set()
        await self._server.stop(SHUTDOWN_GRACE_SECONDS)
        if self._predictor is not None:
            self._predictor.close()

    async def _predict(self, data: bytes, context: Any) -> bytes:
        code = grpc.StatusCode.CANCELLED
        self._counter.begin()
        try:
            response = await self._answer(data)
            code = grpc.StatusCode.OK
        except PredictionFault as fault:
            code = fault.code
            await context.abort(fault.code, fault.message)
        except Exception:
            # Google tells its callers no more than this; the traceback is in our log.
            logger.exception("a call failed")
            unknown = internal_error()
            code = unknown.code
            await context.abort(unknown.code, unknown.message)
        finally:
            self._counter.end(code.name)
        return response

    async def _answer(self, data: bytes) -> bytes:
        traffic, instant, record = self._traffic, self._options.instant, self._options.record
        message = decode_request(data)
        traffic.admit(message.endpoint)
        self._counter.accept()
        await traffic.delay()
        request = parse_request(message)
        traffic.fail(by_uri=request.uri is not None, name=request.name)
        if instant or self._predictor is None:
            response, content = instant_response(request), None
        else:
            prediction = await self._predictor.predict(request)
            response, content = prediction.response, prediction.content
        if record is not None and (request.uri or request.data is not None):
            record_answer(record, request.uri, content)
        return response

    async def _read(self, _data: bytes, _context: Any) -> bytes:
        return statistics_json(self._counter.read())

    async def _reset(self, _data: bytes, _context: Any) -> bytes:
        self._counter.reset()
        return b""

    async def _configure(self, data: bytes, context: Any) -> bytes:
        try:
            self._set_options(ModelServerOptions.from_json(data))
        except StackError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        return b""


def program(*, port: int, storage_endpoint: str, log: Path, options: ModelServerOptions) -> Program:
    """Return the server as a program of the stack, listening on a port of loopback."""
    return Program(
        name="vertex",
        command=(
            sys.executable,
            "-m",
            "deployments.local.vertex.server",
            "--port",
            str(port),
            "--storage-endpoint",
            storage_endpoint,
            *command_line(options),
        ),
        log=log,
        ready=partial(is_answering, f"127.0.0.1:{port}"),
        directory=Path(__file__).parents[3],  # where -m finds the package
    )


async def serve(port: int, storage_endpoint: str, options: ModelServerOptions) -> None:
    """Answer until SIGTERM or SIGINT.

    Raises:
        StackError: the port is taken, or the model does not load.
    """
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    server = VertexServer(storage_endpoint, options)
    bound = await server.start(port)
    logger.info("answering on 127.0.0.1:%d", bound)
    await ended.wait()
    await server.stop()


def main() -> None:
    """Run the server as the command line says."""
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    arguments = parse_arguments()
    try:
        asyncio.run(serve(arguments.port, arguments.storage_endpoint, arguments.options))
    except StackError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
