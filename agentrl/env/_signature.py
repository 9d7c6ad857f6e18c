"""From a typed signature to a pydantic model that validates and coerces its arguments."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic.errors import PydanticSchemaGenerationError, PydanticUserError

from agentrl.errors import ConfigError


class BadArgumentsError(ValueError):
    """Arguments do not fit a signature; the text says which and what was expected."""


@dataclass(frozen=True, slots=True)
class Signature:
    """The parameters of a method, its first (`self`) left out.

    Attributes:
        names: Parameter names, in order.
        model: Pydantic model with one field per parameter, aliased by its name (a field's own name is no parameter's,
            so a parameter may be called `schema` or `copy`).
        text: The signature as written, for messages, e.g. "(item: str, qty: int = 1)".
    """

    names: tuple[str, ...]
    model: type[BaseModel]
    text: str

    def bind(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return validated keyword arguments, defaults included.

        Raises:
            BadArgumentsError: An argument is unknown, missing or of the wrong type.
        """
        try:
            values = self.model.model_validate(dict(arguments), by_alias=True)
        except ValidationError as error:
            raise BadArgumentsError("; ".join(self._complaint(detail) for detail in error.errors())) from None
        return {name: getattr(values, _field(index)) for index, name in enumerate(self.names)}

    def _complaint(self, detail: Any) -> str:
        name = ".".join(str(part) for part in detail["loc"])
        match detail["type"]:
            case "extra_forbidden":
                near = get_close_matches(name, self.names, n=1)
                return f"unknown argument {name!r}" + (f" (did you mean {near[0]!r}?)" if near else "")
            case "missing":
                return f"missing argument {name!r}"
            case _:
                message = str(detail["msg"])
                return f"argument {name!r}: {message[:1].lower()}{message[1:]}, got {_short(detail['input'])}"


def read_signature(
    function: Callable[..., Any],
    *,
    name: str,
    where: str,
    scope: Mapping[str, Any] | None = None,
    descriptions: Mapping[str, str | None] | None = None,
    require_annotations: bool = True,
) -> Signature:
    """Read the signature of a method.

    Args:
        function: The method, unbound.
        name: What to call it in messages.
        where: file:line of its definition.
        scope: Names beside the function's globals in which its annotations are looked up.
        descriptions: Text for each parameter.
        require_annotations: Whether a parameter without annotation is an error; otherwise it takes anything, types may
            be any class, and `*args` and `**kwargs` are left out.

    Raises:
        ConfigError: A parameter cannot be passed by name, lacks an annotation, or has one that does not resolve.
    """
    signature = inspect.signature(function)
    parameters = list(signature.parameters.values())[1:]
    hints = _hints(function, name, where, scope or {})
    fields: dict[str, Any] = {}
    names: list[str] = []
    for parameter in parameters:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD) and not require_annotations:
            continue
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise ConfigError(f"{where}: {name} has the parameter `{parameter}`; every parameter must have a name")
        if parameter.name not in hints and require_annotations:
            raise ConfigError(
                f"{where}: {name} lacks a type for {parameter.name!r}; write one, such as `{parameter.name}: str`"
            )
        default = ... if parameter.default is parameter.empty else parameter.default
        info = Field(default, alias=parameter.name, description=(descriptions or {}).get(parameter.name))
        fields[_field(len(names))] = (hints.get(parameter.name, Any), info)
        names.append(parameter.name)
    config = ConfigDict(extra="forbid", arbitrary_types_allowed=not require_annotations)
    try:
        model: type[BaseModel] = create_model(name, __config__=config, **fields)
    except (PydanticSchemaGenerationError, PydanticUserError) as error:
        raise ConfigError(
            f"{where}: {name} has a type that JSON cannot carry ({error.message.splitlines()[0]}); use str, int, "
            "float, bool, Literal, Enum, list, dict or a pydantic model"
        ) from error
    written = [_as_written(parameter) for parameter in parameters]
    text = str(signature.replace(parameters=written, return_annotation=signature.empty))
    return Signature(tuple(names), model, text)


def definition_site(function: Callable[..., Any]) -> str:
    """Return file:line of a function for messages."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code else repr(function)


def _hints(function: Callable[..., Any], name: str, where: str, scope: Mapping[str, Any]) -> dict[str, Any]:
    inner = inspect.unwrap(function)
    try:
        return typing.get_type_hints(inner, localns={**inner.__globals__, **scope}, include_extras=True)
    except NameError as error:
        raise ConfigError(
            f"{where}: {name} is annotated with {error.name!r}, which is not known there; define or import it before "
            "the class"
        ) from error
    except (TypeError, SyntaxError) as error:
        raise ConfigError(f"{where}: {name} has an annotation that is no type: {error}") from error


@dataclass(frozen=True, slots=True)
class _Bare:
    """An annotation that was kept as a string, shown without quotes."""

    text: str

    def __repr__(self) -> str:
        return self.text


def _as_written(parameter: inspect.Parameter) -> inspect.Parameter:
    annotation = parameter.annotation
    return parameter.replace(annotation=_Bare(annotation)) if isinstance(annotation, str) else parameter


def _field(index: int) -> str:
    return f"argument_{index}"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "…"
