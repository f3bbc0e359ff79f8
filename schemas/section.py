"""What all sections of the configuration have in common."""

import re
from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

IMAGE_DIGEST = re.compile(r"[^\s@]+@sha256:[0-9a-f]{64}")
"""A container image by its digest, under which no other image can lie tomorrow."""

AbsolutePath = Annotated[str, Field(pattern=r"^/[^\s:]+$")]
Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
"""The name of an environment variable."""


class Section(BaseModel):
    """A frozen part of the configuration without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)


def refuse_foreign(section: BaseModel, kind: str, keys: Mapping[str, tuple[str, ...]]) -> None:
    """Raises ValueError if a key is set that is another kind's and not this one's."""
    for key in dict.fromkeys(key for others in keys.values() for key in others):
        value = getattr(section, key)
        if key not in keys[kind] and value is not None and value is not False:
            raise ValueError(f"{kind} has no {key}; it is for {', '.join(k for k, own in keys.items() if key in own)}")
