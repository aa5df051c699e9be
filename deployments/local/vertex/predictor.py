"""From a request to its embeddings: fetch the picture, decode it, run the model.

Calls that wait are answered in groups: a worker fetches the pictures of a group, embeds them, and
their answers leave together. The model fills the processors' caches, and what runs between two
pictures finds them cold: alone, a call costs client, server and storage two to three times the
processor time that it costs in a row with others.
"""

import asyncio
import http.client
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from urllib.parse import quote, urlsplit

from deployments.local.model.images import MAXIMUM_BYTES, UnreadableImage, check_size
from deployments.local.model.model import EmbeddingModel, processor_count
from deployments.local.vertex.errors import invalid_image, missing_image, storage_unavailable
from deployments.local.vertex.wire import PredictionRequest, build_response

FETCH_TIMEOUT_SECONDS = 5.0
# One group is fetched while the others keep every processor busy.
EXTRA_WORKERS = 1

LARGEST_GROUP = 8
"""Pictures that a worker holds at once; their answers wait for each other."""


@dataclass(slots=True)
class Call:
    """A request on its way through a worker.

    Attributes:
        request: what is asked.
        answer: where its caller waits; done already where the caller gave up.
        data: the picture's bytes, once they are fetched.
        outcome: the PredictResponse, or what went wrong.
    """

    request: PredictionRequest
    answer: asyncio.Future[bytes]
    data: bytes | None = None
    outcome: bytes | Exception | None = None


class Predictor:
    """The model, and the workers that answer for it; needs a running event loop.

    Args:
        storage_endpoint: address of a server that speaks Cloud Storage's JSON API.

    Raises:
        StackError: the model's weights are missing or do not read.
    """

    def __init__(self, storage_endpoint: str) -> None:
        self._model = EmbeddingModel(threads=1)
        self._storage = urlsplit(storage_endpoint).netloc
        workers = processor_count() + EXTRA_WORKERS
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="predict")
        self._waiting: asyncio.Queue[Call] = asyncio.Queue()
        self._workers = [asyncio.create_task(self._work()) for _ in range(workers)]

    async def predict(self, request: PredictionRequest) -> bytes:
        """Return the PredictResponse to a request.

        Raises:
            PredictionFault: what Google answers when the picture is missing or unreadable.
        """
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting.put_nowait(Call(request, answer))
        return await answer

    def close(self) -> None:
        """Drop the work that has not begun and let go of the threads."""
        for worker in self._workers:
            worker.cancel()
        self._threads.shutdown(cancel_futures=True)

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        storage = http.client.HTTPConnection(self._storage, timeout=FETCH_TIMEOUT_SECONDS)
        while True:
            calls = [await self._waiting.get()]
            # No more than its share: no worker is idle while calls wait in another's group.
            share = self._waiting.qsize() // len(self._workers)
            calls += [self._waiting.get_nowait() for _ in range(min(share, LARGEST_GROUP - 1))]
            await loop.run_in_executor(self._threads, self._answer_all, calls, storage)
            for call in calls:
                _hand_over(call)

    def _answer_all(self, calls: Sequence[Call], storage: http.client.HTTPConnection) -> None:
        for step in (partial(_fetch, storage), self._embed):
            for call in calls:
                _do(step, call)

    def _embed(self, call: Call) -> None:
        call.outcome = self.embed(call.request, call.data)

    def embed(self, request: PredictionRequest, picture: bytes | None) -> bytes:
        """Return the PredictResponse to a request whose picture was fetched; runs in a thread.

        Raises:
            UnreadableImage: the model does not accept the picture.
        """
        image = text = None
        if picture is not None:
            image = self._model.embed_image(picture, request.dimension)
        if request.text is not None:
            text = self._model.embed_text(request.text, request.dimension)
        return build_response(image, text)


def _do(step: Callable[[Call], None], call: Call) -> None:
    """Do a step of a call that is still open; what goes wrong is its outcome."""
    if call.answer.done() or call.outcome is not None:
        return
    try:
        step(call)
    except UnreadableImage as error:
        call.outcome = invalid_image(str(error))
    except Exception as error:  # noqa: BLE001 - the caller's handler tells what kind it is
        call.outcome = error


def _hand_over(call: Call) -> None:
    if call.answer.done():
        return
    if isinstance(call.outcome, bytes):
        call.answer.set_result(call.outcome)
    else:
        call.answer.set_exception(call.outcome or AssertionError("the call has no outcome"))


def _fetch(storage: http.client.HTTPConnection, call: Call) -> None:
    request = call.request
    if request.bucket is None or request.name is None:
        call.data = request.data
        return
    try:
        status, call.data = _get(storage, object_path(request.bucket, request.name))
    except (OSError, http.client.HTTPException) as error:
        raise storage_unavailable(str(error) or type(error).__name__) from error
    if status == HTTPStatus.NOT_FOUND:
        raise missing_image(f"gs://{request.bucket}/{request.name}")
    if status != HTTPStatus.OK:
        raise storage_unavailable(f"it answered HTTP {status}")


def _get(storage: http.client.HTTPConnection, path: str) -> tuple[int, bytes]:
    """Return status and body of a GET, over the connection of the one before if it still stands.

    http.client takes 0.1 ms of processor time, urllib3 0.2 ms and more where caches are cold.
    """
    kept = storage.sock is not None
    try:
        storage.request("GET", path)
        with storage.getresponse() as response:
            check_size(response.length or 0)
            data = response.read(MAXIMUM_BYTES + 1)
            check_size(len(data))
            return response.status, data
    except (http.client.RemoteDisconnected, ConnectionError):
        storage.close()
        if not kept:
            raise
    except BaseException:
        # What was not read would be taken for the next answer.
        storage.close()
        raise
    # The server was restarted since.
    return _get(storage, path)


def object_path(bucket: str, name: str) -> str:
    """Return where an object's bytes are in Cloud Storage's JSON API.

    Slashes are escaped too: the name's own `..` must not climb out of the bucket.
    """
    return f"/storage/v1/b/{quote(bucket, safe='')}/o/{quote(name, safe='')}?alt=media"
