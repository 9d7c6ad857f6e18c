"""`@tool`: a typed method with a Google docstring becomes a tool with an OpenAI function schema."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from types import FunctionType
from typing import Any, TypeVar

import docstring_parser
from pydantic import BaseModel
from pydantic.errors import PydanticInvalidForJsonSchema

from agentrl.env._signature import Signature, definition_site, read_signature
from agentrl.errors import ConfigError

ATTRIBUTE = "__agentrl_tool__"
RESERVED = frozenset({"reset", "step", "state", "close"})
"""Names that the environment server's wire keeps for itself."""

Method = TypeVar("Method", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool of an environment.

    Attributes:
        name: Name of the method, under which the agent calls it.
        signature: Validates the arguments of a call.
        schema: OpenAI function schema: `{"type": "function", "function": {name, description, parameters}}`.
    """

    name: str
    signature: Signature
    schema: dict[str, Any]


def tool(method: Method) -> Method:
    """Mark a method of an Env as a tool that the agent may call.

    Its annotations become the JSON schema, its Google docstring the descriptions. It may be `async`. What it returns
    is shown to the agent: text as it is, other values as JSON, a `Step` where it also gives a reward or ends the
    episode. It may raise ToolError (shown to the agent) and StopEpisode (ends the episode).

    Raises:
        ConfigError: (at class definition) no docstring, a parameter without annotation, or a documented parameter
            that does not exist; the message names file and line.
    """
    if not isinstance(method, FunctionType):
        raise ConfigError(f"@tool marks methods, not {method!r}; put it directly above `def` or `async def`")
    where = definition_site(method)
    if method.__name__ in RESERVED:
        raise ConfigError(f"{where}: a tool cannot be called {method.__name__!r}; that name is the environment's own")
    setattr(method, ATTRIBUTE, _specify(method, where, _scope()))
    return method


def _scope() -> dict[str, Any]:
    """Return the names visible in the class body that is being executed, and in the function around it."""
    body = sys._getframe(2)
    around = body.f_back.f_locals if body.f_back else {}
    return {**around, **body.f_locals}


def _specify(method: FunctionType, where: str, scope: Mapping[str, Any]) -> ToolSpec:
    name = method.__name__
    if not list(inspect.signature(method).parameters):
        raise ConfigError(f"{where}: tool {name!r} lacks `self`; tools are methods of an Env")
    text = inspect.getdoc(method)
    if not text or not text.strip():
        raise ConfigError(
            f'{where}: tool {name!r} has no docstring; write one, such as """What it does.""" with a section `Args:` '
            "for its parameters: the agent reads it"
        )
    parsed = docstring_parser.parse(text, docstring_parser.DocstringStyle.GOOGLE)
    descriptions = {entry.arg_name: " ".join((entry.description or "").split()) or None for entry in parsed.params}
    signature = read_signature(method, name=f"tool {name!r}", where=where, scope=scope, descriptions=descriptions)
    for documented in descriptions:
        if documented not in signature.names:
            near = get_close_matches(documented, signature.names, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ConfigError(f"{where}: tool {name!r} documents {documented!r}, which is no parameter of it{hint}")
    description = "\n\n".join(part for part in (parsed.short_description, parsed.long_description) if part)
    try:
        parameters = _parameters(signature.model)
    except PydanticInvalidForJsonSchema as error:
        raise ConfigError(f"{where}: tool {name!r} has a type without a JSON schema: {error.message}") from error
    function = {"name": name, "description": description, "parameters": parameters}
    return ToolSpec(name, signature, {"type": "function", "function": function})


def _parameters(model: type[BaseModel]) -> dict[str, Any]:
    schema: dict[str, Any] = _untitled(model.model_json_schema(by_alias=True))
    schema.pop("description", None)
    definitions = schema.pop("$defs", None)
    clean = {
        "type": "object",
        "properties": schema.get("properties", {}),
        "required": schema.get("required", []),
        "additionalProperties": False,
    }
    return clean | ({"$defs": definitions} if definitions else {})


def _untitled(schema: Any) -> Any:
    """Return a JSON schema without its titles; a property called "title" stays."""
    if isinstance(schema, list):
        return [_untitled(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    clean: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "title":
            continue
        if key in ("properties", "$defs", "patternProperties"):
            clean[key] = {name: _untitled(inner) for name, inner in value.items()}
        elif key in ("default", "const", "enum", "examples"):
            clean[key] = value
        else:
            clean[key] = _untitled(value)
    return clean
