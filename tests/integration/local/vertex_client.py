"""The local Vertex AI server with its storage, and Google's client for it, for the tests."""

import base64
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from google.cloud.aiplatform_v1 import PredictionServiceAsyncClient
from google.cloud.aiplatform_v1.services.prediction_service.transports import (
    PredictionServiceGrpcAsyncIOTransport,
)
from numpy.typing import NDArray

from deployments.local.processes.program import Process, start
from deployments.local.storage import server as storage
from deployments.local.vertex.options import ModelServerOptions
from tests.support.servers import vertex

MODEL = "projects/p/locations/us-central1/publishers/google/models/multimodalembedding@001"


@dataclass(frozen=True, slots=True)
class Vertex:
    """A running server, its storage, and Google's client for it."""

    address: str
    client: PredictionServiceAsyncClient
    process: Process
    storage: Process

    async def predict(self, *instances: Any, model: str = MODEL, dimension: int = 128) -> Any:
        return await self.client.predict(
            endpoint=model,
            instances=list(instances),
            parameters={"dimension": dimension},
            timeout=60,
        )

    async def embed(self, name: str, dimension: int = 128) -> NDArray[np.float32]:
        response = await self.predict(image_at(name), dimension=dimension)
        return np.array(response.predictions[0]["imageEmbedding"], np.float32)

    async def embed_text(self, text: str, dimension: int = 128) -> NDArray[np.float32]:
        response = await self.predict({"text": text}, dimension=dimension)
        return np.array(response.predictions[0]["textEmbedding"], np.float32)


def image_at(name: str) -> dict[str, Any]:
    return {"image": {"gcsUri": f"gs://birdwalk/{name}"}}


def image_of(data: bytes) -> dict[str, Any]:
    return {"image": {"bytesBase64Encoded": base64.b64encode(data).decode()}}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


@asynccontextmanager
async def serve(
    pictures: Path, state: Path, options: ModelServerOptions, record: Path | None = None
) -> AsyncIterator[Vertex]:
    storage_port, port = free_port(), free_port()
    bucket = await start(
        storage.program(
            port=storage_port,
            pictures=pictures,
            bucket="birdwalk",
            state_directory=state,
            log=state / "storage.log",
        )
    )
    try:
        server = await start(
            vertex.program(
                port=port,
                storage_endpoint=f"http://127.0.0.1:{storage_port}",
                log=state / "vertex.log",
                options=options,
                record=record,
            )
        )
        try:
            address = f"127.0.0.1:{port}"
            async with grpc.aio.insecure_channel(address) as channel:
                client = PredictionServiceAsyncClient(
                    transport=PredictionServiceGrpcAsyncIOTransport(channel=channel)
                )
                yield Vertex(address, client, server, bucket)
        finally:
            await server.stop()
    finally:
        await bucket.stop()
