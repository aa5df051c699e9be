"""Parameters that are chosen from a list: Prefect's form shows each as a dropdown.

The lists are those of tasks.core.models, so that another model is added in one place.
"""

from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

from pydantic import WithJsonSchema

from tasks.core.models import MODELS

DIMENSIONS = tuple(sorted({size for model in MODELS.values() for size in model.dimensions}))

if TYPE_CHECKING:
    ModelName: TypeAlias = str
    Dimension: TypeAlias = int
else:
    # A Literal of one value becomes a `const`, which the forms show as free text or not at all.
    ModelName = Annotated[
        Literal[tuple(MODELS)], WithJsonSchema({"type": "string", "enum": list(MODELS)})
    ]
    Dimension = Annotated[
        Literal[DIMENSIONS], WithJsonSchema({"type": "integer", "enum": list(DIMENSIONS)})
    ]
