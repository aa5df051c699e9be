"""The yardstick of the flow: list, predict and COPY with the same clients, and nothing else.

    python -m tests.bench.bare BUCKET PREFIX LIMIT TABLE

No batches, no pace, no retries, no record of anything: what a script for one afternoon does.
"""

import asyncio
import sys
from collections.abc import Iterator
from itertools import islice
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import grpc.aio
from google.auth.credentials import AnonymousCredentials
from google.cloud import aiplatform_v1, storage
from google.cloud.aiplatform_v1.services.prediction_service.transports import (
    PredictionServiceGrpcAsyncIOTransport,
)
from google.protobuf.struct_pb2 import Value
from pgvector.asyncpg import register_vector

from tasks.core.database.statements import Identifier, statements_of
from tasks.core.google.storage import FIELDS, PAGE_SIZE
from tasks.core.google.vertex import parse_vector
from tasks.core.settings import Settings
from tasks.core.spaces.rows import COLUMNS, Row
from tasks.core.types import Vector

registry_sql = statements_of("tasks.core.spaces.registry")

IN_FLIGHT = 64
DIMENSION = 128


def list_blobs(settings: Settings, bucket: str, prefix: str, limit: int) -> list[Any]:
    client = storage.Client(
        project=settings.project,
        credentials=AnonymousCredentials(),
        client_options={"api_endpoint": settings.storage_endpoint},
    )
    listed = client.list_blobs(bucket, prefix=prefix, fields=FIELDS, page_size=PAGE_SIZE)
    return list(islice(listed, limit))


async def embed(settings: Settings, uris: list[str]) -> list[Vector]:
    channel = grpc.aio.insecure_channel(urlsplit(settings.vertex_endpoint or "").netloc)
    client = aiplatform_v1.PredictionServiceAsyncClient(
        transport=PredictionServiceGrpcAsyncIOTransport(channel=channel)
    )
    endpoint = (
        f"projects/{settings.project}/locations/{settings.location}"
        "/publishers/google/models/multimodalembedding@001"
    )
    parameters = Value()
    parameters.struct_value.fields["dimension"].number_value = DIMENSION
    vectors: dict[int, Vector] = {}

    async def work(waiting: Iterator[tuple[int, str]]) -> None:
        for number, uri in waiting:
            instance = Value()
            instance.struct_value.fields["image"].struct_value.fields["gcsUri"].string_value = uri
            response = await client.predict(
                endpoint=endpoint, instances=[instance], parameters=parameters, timeout=30.0
            )
            vectors[number] = parse_vector(response, "imageEmbedding", DIMENSION)

    waiting = iter(enumerate(uris))
    await asyncio.gather(*(work(waiting) for _ in range(IN_FLIGHT)))
    await channel.close()
    return [vectors[number] for number in range(len(uris))]


async def load(settings: Settings, table: str, rows: list[Row]) -> None:
    connection = await asyncpg.connect(settings.database_url.get_secret_value())
    await register_vector(connection)
    await connection.execute(
        registry_sql(
            "create_vectors_table",
            vectors=Identifier(table, "birdwalk"),
            dimension=DIMENSION,
            unit_length=Identifier(f"{table}_unit_length"),
        )
    )
    await connection.copy_records_to_table(
        table, schema_name="birdwalk", records=rows, columns=COLUMNS
    )
    await connection.close()


async def main(bucket: str, prefix: str, limit: int, table: str) -> None:
    settings = Settings()
    blobs = list_blobs(settings, bucket, prefix, limit)
    vectors = await embed(settings, [f"gs://{bucket}/{blob.name}" for blob in blobs])
    await load(settings, table, list(zip((blob.md5_hash for blob in blobs), vectors, strict=True)))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]))
