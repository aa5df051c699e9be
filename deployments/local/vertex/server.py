"""Vertex AI on loopback: PredictionService/Predict for multimodalembedding@001.

    python -m deployments.local.vertex.server --port 8085 --storage-endpoint http://127.0.0.1:4443

Pictures are fetched from the local storage server and embedded by the local model. A call goes
through permission and quota, latency and drawn errors (traffic.py), then through the checks and the
model; errors.py lists the answers. Fetching, decoding and the model run in worker threads, a few
pictures each: the event loop only passes messages on.
"""

import argparse
import asyncio
import logging
import signal
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc

from deployments.local.errors import StackError
from deployments.local.processes.program import Program
from deployments.local.vertex.errors import PredictionFault, internal_error
from deployments.local.vertex.instant import instant_response
from deployments.local.vertex.options import MODEL_SERVER, ModelServerOptions
from deployments.local.vertex.traffic import Traffic
from deployments.local.vertex.wire import SERVICE, decode_request, parse_request

if TYPE_CHECKING:
    from deployments.local.vertex.predictor import Predictor

logger = logging.getLogger(__name__)

HOST = "127.0.0.1"
ROOT = Path(__file__).resolve().parents[3]
# 20 MB of picture in base64, and the rest of the request.
MAXIMUM_MESSAGE_BYTES = 32 * 1024 * 1024
SHUTDOWN_GRACE_SECONDS = 1.0

Method = Callable[[bytes, Any], Awaitable[bytes]]


class VertexServer:
    """The PredictionService of one port; tests extend it by a service that counts its calls.

    Args:
        storage_endpoint: address of the storage server, for pictures given by gcsUri.
        options: how to answer.
    """

    def __init__(self, storage_endpoint: str, options: ModelServerOptions) -> None:
        self._storage_endpoint = storage_endpoint
        self._ending = asyncio.Event()
        self._predictor: Predictor | None = None
        self._server: Any = None
        self.configure(options)

    def configure(self, options: ModelServerOptions) -> None:
        """Answer as the options say, from the next call on.

        Raises:
            StackError: the model does not load.
        """
        if not options.instant and self._predictor is None:
            self._predictor = self.make_predictor(self._storage_endpoint)
        self._options = options
        self._traffic = Traffic(options, self._ending)

    def make_predictor(self, storage_endpoint: str) -> "Predictor":
        """Load the model.

        Raises:
            StackError: its weights are missing or cannot be read.
        """
        # It takes half a second; instant servers never need it.
        from deployments.local.vertex.predictor import Predictor  # noqa: PLC0415

        return Predictor(storage_endpoint)

    def services(self) -> dict[str, dict[str, Method]]:
        """Return the methods by service; they take and return serialized messages."""
        return {SERVICE: {"Predict": self._predict}}

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
        for service, methods in self.services().items():
            handlers = {
                name: grpc.unary_unary_rpc_method_handler(method)
                for name, method in methods.items()
            }
            self._server.add_generic_rpc_handlers(
                (grpc.method_handlers_generic_handler(service, handlers),)
            )
        try:
            bound: int = self._server.add_insecure_port(f"{HOST}:{port}")
        except RuntimeError as error:
            raise StackError(
                f"the model server cannot listen on {HOST}:{port}; is the port taken?"
            ) from error
        await self._server.start()
        return bound

    async def stop(self) -> None:
        """End calls at work, at the latest after a second, and free port and threads."""
        self._ending.set()
        await self._server.stop(SHUTDOWN_GRACE_SECONDS)
        if self._predictor is not None:
            self._predictor.close()

    async def _predict(self, data: bytes, context: Any) -> bytes:
        try:
            return await self.answer(data)
        except PredictionFault as fault:
            await context.abort(fault.code, fault.message)
        except Exception:
            # Google tells its callers no more than this; the traceback is in our log.
            logger.exception("a call failed")
            unknown = internal_error()
            await context.abort(unknown.code, unknown.message)
        raise AssertionError("abort() does not return")

    async def answer(self, data: bytes) -> bytes:
        """Return the PredictResponse to a PredictRequest, both serialized.

        Raises:
            PredictionFault: any other answer.
        """
        traffic, instant = self._traffic, self._options.instant
        message = decode_request(data)
        traffic.admit(message.endpoint)
        self.admitted()
        await traffic.delay()
        request = parse_request(message)
        traffic.fail(by_uri=request.uri is not None, name=request.name)
        if instant or self._predictor is None:
            return instant_response(request)
        return await self._predictor.predict(request)

    def admitted(self) -> None:
        """Be told that permission and quota let a call in."""


def program(
    *,
    port: int,
    storage_endpoint: str,
    log: Path,
    options: ModelServerOptions,
    module: str = MODEL_SERVER,
) -> Program:
    """Return the server as a program of the stack, listening on a port of loopback."""
    return Program(
        name="vertex",
        command=(
            *(sys.executable, "-m", module, "--port", str(port)),
            *("--storage-endpoint", storage_endpoint, "--options", options.to_json()),
        ),
        log=log,
        ready=partial(accepts_connections, port),
        address=f"http://{HOST}:{port}",
        directory=ROOT,  # where -m finds the module
    )


async def accepts_connections(port: int) -> bool:
    """Tell whether a server listens on a port of loopback."""
    try:
        _, writer = await asyncio.open_connection(HOST, port)
    except OSError:
        return False
    writer.close()
    return True


async def serve(server: VertexServer, port: int) -> None:
    """Answer until SIGTERM or SIGINT.

    Raises:
        StackError: the port is taken.
    """
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    bound = await server.start(port)
    logger.info("answering on %s:%d", HOST, bound)
    await ended.wait()
    await server.stop()


def main(make_server: Callable[[str, ModelServerOptions], VertexServer] = VertexServer) -> None:
    """Run the server as the command line says."""
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    parser = argparse.ArgumentParser(
        prog=f"python -m {MODEL_SERVER}",
        description="Answer multimodalembedding@001 as Vertex AI does, on loopback.",
    )
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--storage-endpoint", required=True, metavar="URL")
    parser.add_argument("--options", default="{}", metavar="JSON", help="see ModelServerOptions")
    arguments = parser.parse_args()

    async def run() -> None:
        options = ModelServerOptions.from_json(arguments.options)
        await serve(make_server(arguments.storage_endpoint, options), arguments.port)

    try:
        asyncio.run(run())
    except StackError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
