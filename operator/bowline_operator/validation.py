"""Read a DatabaseMigration as a person wrote it: strictly, with the path of every wrong field and a suggestion."""

from __future__ import annotations

import difflib
import json
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from bowline_operator.api import DatabaseMigration, Metadata
from bowline_operator.status import Status


@dataclass(frozen=True, slots=True)
class FieldError:
    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


def read_resource(
    raw: Mapping[str, Any],
) -> tuple[DatabaseMigration | None, tuple[FieldError, ...]]:
    """Validate one document; the resource is None exactly when there are errors. `status` is not read."""
    written = {key: value for key, value in raw.items() if key != "status"}
    errors = list(_unknown_fields(DatabaseMigration, written, ()))
    try:
        # Through JSON, as kubectl does it: strict about types there, where "5" is no number and "no" no boolean.
        text = json.dumps(written, default=_as_json)
        resource = DatabaseMigration.model_validate_json(text, strict=True)
    except ValidationError as error:
        errors += [explain(detail) for detail in error.errors()]
    except (TypeError, ValueError) as error:
        errors.append(FieldError("", str(error)))
    return (None, tuple(errors)) if errors else (resource, ())


def _as_json(value: object) -> str:
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(f"a value of type {type(value).__name__} has no place in a manifest")


def _unknown_fields(
    model: type[BaseModel], raw: object, path: tuple[str, ...]
) -> Iterator[FieldError]:
    if not isinstance(raw, Mapping) or model in (Metadata, Status):
        return
    fields = {field.alias or name: field for name, field in model.model_fields.items()}
    for key, value in raw.items():
        here = (*path, str(key))
        if key not in fields:
            close = difflib.get_close_matches(str(key), list(fields), n=1, cutoff=0.6)
            hint = f", did you mean {close[0]}?" if close else f"; known: {', '.join(fields)}"
            yield FieldError(".".join(here), "unknown field" + hint)
            continue
        inner = _model_of(fields[key].annotation)
        if inner is not None:
            yield from _unknown_fields(inner, value, here)


def _model_of(annotation: Any) -> type[BaseModel] | None:
    """The class of a nested block, whether or not it may be absent."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        found = [_model_of(option) for option in typing.get_args(annotation)]
        return next((model for model in found if model is not None), None)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return None


def explain(detail: ErrorDetails) -> FieldError:
    """Say in our words what pydantic found at one field."""
    path = ".".join(map(str, detail["loc"]))
    given = detail["input"]
    match detail["type"]:
        case "missing":
            return FieldError(path, "required")
        case "enum":
            return FieldError(path, _one_of(detail["ctx"]["expected"], given))
        case "literal_error":
            return FieldError(path, f"must be {detail['ctx']['expected']}")
        case "value_error":
            return FieldError(path, str(detail["ctx"]["error"]))
    return FieldError(path, detail["msg"][:1].lower() + detail["msg"][1:])


def _one_of(expected: str, given: object) -> str:
    choices = expected.replace("'", "").replace(" or ", ", ").split(", ")
    folded = {choice.lower(): choice for choice in choices}
    close = difflib.get_close_matches(str(given).lower(), list(folded), n=1, cutoff=0.5)
    hint = f", did you mean {folded[close[0]]}?" if close else ""
    return f"must be one of {', '.join(choices)}{hint}"


#: Why not, after the names of what was changed.
IMMUTABLE = "can't change once replication began: another database is another migration"


class Change(StrEnum):
    SOURCE = "spec.source"
    TARGET = "spec.target"
    TABLES = "spec.tables"


def immutable_changes(old: DatabaseMigration, new: DatabaseMigration) -> list[Change]:
    """Name what must not change once replication began: another database would be another migration."""
    pairs: dict[Change, tuple[BaseModel, BaseModel]] = {
        Change.SOURCE: (old.spec.source, new.spec.source),
        Change.TARGET: (old.spec.target, new.spec.target),
        Change.TABLES: (old.spec.tables, new.spec.tables),
    }
    return [name for name, (before, after) in pairs.items() if before != after]
