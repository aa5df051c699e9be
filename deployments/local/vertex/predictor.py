"""From a request to its embeddings: fetch the picture, decode it, run the model."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from urllib.parse import quote

import urllib3

from deployments.local.model.images import MAXIMUM_BYTES, UnreadableImage, check_size
from deployments.local.model.model import EmbeddingModel, processor_count
from deployments.local.vertex.errors import invalid_image, missing_image, storage_unavailable
from deployments.local.vertex.wire import PredictionRequest, build_response

FETCH_TIMEOUT_SECONDS = 5.0
# While one picture is fetched, the others keep every processor busy.
EXTRA_WORKERS = 1


class Predictor:
    """The model, and the threads that work for it.

    urllib3 in the worker threads takes 0.5 ms of processor time a picture, httpx on the event
    loop 1.8 ms; the threads are needed for decoding anyway.

    Args:
        storage_endpoint: address of a server that speaks Cloud Storage's JSON API.

    Raises:
        StackError: the model's weights are missing or cannot be read.
    """

    def __init__(self, storage_endpoint: str) -> None:
        self._storage_endpoint = storage_endpoint
        self._model = EmbeddingModel(threads=1)
        workers = processor_count() + EXTRA_WORKERS
        self._workers = ThreadPoolExecutor(workers, thread_name_prefix="predict")
        self._http = urllib3.PoolManager(
            maxsize=workers, timeout=FETCH_TIMEOUT_SECONDS, retries=False
        )

    async def predict(self, request: PredictionRequest) -> bytes:
        """Return the PredictResponse to a request.

        Raises:
            PredictionFault: what Google answers when the picture is missing or unreadable.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._workers, self._predict, request)

    def close(self) -> None:
        """Cancel the work that has not begun, and close threads and connections."""
        self._workers.shutdown(cancel_futures=True)
        self._http.clear()

    def _predict(self, request: PredictionRequest) -> bytes:
        try:
            picture = self._fetch(request) if request.data is None else request.data
            return self.embed(request, picture)
        except UnreadableImage as error:
            raise invalid_image(str(error)) from error

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

    def _fetch(self, request: PredictionRequest) -> bytes | None:
        if request.bucket is None or request.name is None:
            return None
        url = object_url(self._storage_endpoint, request.bucket, request.name)
        try:
            response = self._http.request("GET", url, preload_content=False)
            try:
                return self._read(request, response)
            finally:
                response.release_conn()
        except urllib3.exceptions.HTTPError as error:
            raise storage_unavailable(str(error)) from error

    def _read(self, request: PredictionRequest, response: urllib3.BaseHTTPResponse) -> bytes:
        if response.status == HTTPStatus.NOT_FOUND:
            response.drain_conn()
            raise missing_image(f"gs://{request.bucket}/{request.name}")
        if response.status != HTTPStatus.OK:
            response.drain_conn()
            raise storage_unavailable(f"it answered HTTP {response.status}")
        check_size(int(response.headers.get("content-length", 0)))
        data = response.read(MAXIMUM_BYTES + 1)
        check_size(len(data))
        return data


def object_url(endpoint: str, bucket: str, name: str) -> str:
    """Return the address of an object's bytes in Cloud Storage's JSON API.

    Slashes are escaped too: the name's own `..` must not climb out of the bucket.
    """
    path = f"/storage/v1/b/{quote(bucket, safe='')}/o/{quote(name, safe='')}"
    return f"{endpoint.rstrip('/')}{path}?alt=media"
