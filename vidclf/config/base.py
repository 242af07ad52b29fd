"""What all configuration shares: strict, immutable models, and errors of one line."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vidclf.errors import ConfigError

Split = Literal["train", "val", "test"]
Identifier = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]


class Frozen(BaseModel):
    """Base of all configuration: immutable, and strict about names."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def fingerprint(values: Any, length: int = 12) -> str:
    """SHA-256 over the canonical JSON of ``values``, as ``length`` hexadecimal digits."""
    canonical = json.dumps(values, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()[:length]


Config = TypeVar("Config", bound=BaseModel)


def parse(model: type[Config], values: dict[str, Any], where: str = "") -> Config:
    """Validate ``values``; the first thing that is wrong becomes one line.

    Raises:
        ConfigError: names the setting, what was given and what is allowed.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise ConfigError(_one_line(model, error, where)) from None


def _one_line(model: type[BaseModel], error: ValidationError, where: str) -> str:
    first = error.errors()[0]
    path = ".".join([*filter(None, [where]), *(str(part) for part in first["loc"])])
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if first["type"] == "extra_forbidden":
        allowed = ", ".join(_fields_at(model, first["loc"][:-1]))
        return f"setting {path!r} does not exist; there are: {allowed}{more}"
    if first["type"] == "missing":
        return f"setting {path!r} is missing{more}"
    message = re.sub(r"^Value error, ", "", first["msg"])
    if first["type"] == "string_pattern_mismatch":
        message = "only letters, digits, '.', '_' and '-', and not one of the last three first"
    if not path:
        return message + more
    return f"setting {path!r} is {first['input']!r}: {message}{more}"


def _fields_at(model: type[BaseModel], loc: tuple[Any, ...]) -> list[str]:
    for part in loc:
        field = model.model_fields.get(str(part))
        nested = (
            [a for a in (field.annotation, *getattr(field.annotation, "__args__", ())) if _is_model(a)] if field else []
        )
        if not nested:
            return []
        model = nested[0]
    return sorted(model.model_fields)


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
