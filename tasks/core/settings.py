"""The one place where the environment is read: variables that begin with BIRDWALK_.

Local or Google is a matter of three addresses; everything else is the same code.
"""

from functools import lru_cache
from pathlib import Path
from typing import Annotated

import platformdirs
from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Where things are and how patient to be; one flow run sees one set of values.

    Secrets live here (environment or a mounted file), never in flow parameters.
    """

    model_config = SettingsConfigDict(env_prefix="BIRDWALK_", extra="ignore", frozen=True)

    database_url: SecretStr = Field(
        default=SecretStr("postgresql://postgres@localhost/birdwalk"),
        description="Postgres with pgvector, as postgresql://user:password@host/database.",
    )
    project: str | None = Field(
        default=None, description="Google Cloud project; by default the credentials' own."
    )
    location: str = Field(default="us-central1", description="Region of the Vertex AI model.")
    storage_endpoint: str | None = Field(
        default=None, description="Cloud Storage address; None is Google's."
    )
    vertex_endpoint: str | None = Field(
        default=None,
        description="Vertex AI address; None is Google's for the location; http:// means no TLS.",
    )
    data_directory: Path = Field(
        default_factory=lambda: Path(platformdirs.user_data_dir("birdwalk")),
        description="CSV parts, CSV files and contact sheets, a folder a run.",
    )
    local_directory: Path | None = Field(
        default=None,
        description="The local stack's state; None is `local` in the data directory.",
    )
    database_connections: Annotated[int, Field(ge=2, le=64)] = 6
    runs_kept: Annotated[int, Field(ge=1)] = Field(
        default=30, description="Runs of an index whose files stay in the data directory."
    )
    unused_days: Annotated[int, Field(ge=0)] = Field(
        default=30,
        description="Days that vectors stay whose content no image has, so that a restored object"
        " costs nothing.",
    )
    request_timeout_seconds: Annotated[float, Field(gt=0, le=600)] = 30.0
    image_time_budget_seconds: Annotated[float, Field(gt=0, le=86_400)] = 600.0
    index_build_memory_mb: Annotated[int, Field(ge=64)] = 512
    gallery_token: SecretStr | None = Field(
        default=None,
        description="What a visitor of the gallery must show; needed beyond this machine.",
    )
    gallery_cache_mb: Annotated[int, Field(ge=1, le=16_384)] = 128


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """Return the process's settings, read once."""
    return Settings()
