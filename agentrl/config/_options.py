"""The fields of the run file as a flat list: what error messages and `--help-config` are made of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from agentrl.config._run import RunConfig

INDEX = "N"
"""Stands in an option's key for the number of an entry of a list: `env.N.id`."""


@dataclass(frozen=True, slots=True)
class Option:
    """One field of the run file.

    Attributes:
        key: Dotted key, as an override names it: `rollout.group`, `env.N.weight`.
        type: What is expected, in words.
        kind: JSON type: "string", "integer", "number", "boolean", "object" or "array".
        required: Whether it has to be given.
        default: The value it has where it is not given; None where it is required.
        text: What it is for.
    """

    key: str
    type: str
    kind: str
    required: bool
    default: Any
    text: str

    def expectation(self) -> str:
        """Return what is expected and what for, in one phrase."""
        return f"{self.type} ({self.text})" if self.text else self.type


@cache
def options() -> tuple[Option, ...]:
    """Return every field of the run file, sections before the fields in them."""
    schema = RunConfig.model_json_schema()
    return tuple(_walk(schema, schema.get("$defs", {}), ""))


@cache
def _by_key() -> dict[str, Option]:
    return {option.key: option for option in options()}


def find_option(parts: tuple[str | int, ...]) -> Option | None:
    """Return the option a key names, or None. Whatever lies below `env.N.args` belongs to the environment."""
    key = ".".join(INDEX if isinstance(part, int) or part.isdigit() else part for part in parts)
    return _by_key().get(key)


def keys_under(parts: tuple[str | int, ...]) -> list[str]:
    """Return the names that the section at a key may hold."""
    prefix = "".join(f"{INDEX if isinstance(part, int) else part}." for part in parts)
    below = (option.key.removeprefix(prefix) for option in options() if option.key.startswith(prefix))
    return [name for name in below if "." not in name]


def options_help() -> str:
    """Return the list of all fields with their types, defaults and texts, as plain text."""
    lines = ["Fields of the run file; `--KEY VALUE` on the command line overrides one:", ""]
    for option in options():
        if option.kind in ("section", "array"):
            bracket = f"[[{option.key}]]" if option.kind == "array" else f"[{option.key}]"
            lines += ["", f"{bracket}  {option.text}".rstrip()]
            continue
        default = "required" if option.required else f"default {_show_default(option.default)}"
        lines += [f"  {option.key:<26} {option.type}, {default}", f"  {'':<26} {option.text}"]
    return "\n".join(lines) + "\n"


def _show_default(value: Any) -> str:
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    return f'"{value}"' if isinstance(value, str) else str(value)


def _walk(schema: Mapping[str, Any], definitions: Mapping[str, Any], prefix: str) -> Iterator[Option]:
    required = set(schema.get("required", ()))
    nested: list[Option] = []
    for name, field in schema["properties"].items():
        key = prefix + name
        field = _without_null(field)
        reference = field.get("$ref") or field.get("items", {}).get("$ref")
        text = field.get("description", "")
        if reference is None:
            yield Option(key, _describe(field), field["type"], name in required, field.get("default"), text)
            continue
        section = definitions[reference.rsplit("/", 1)[-1]]
        if "items" in field:
            nested.append(Option(key, f"[[{key}]] sections", "array", name in required, None, text))
            nested += _walk(section, definitions, f"{key}.{INDEX}.")
        else:
            text = text or section.get("description", "").split(": `", 1)[0]
            nested.append(Option(key, f"a section [{key}]", "section", name in required, field.get("default"), text))
            nested += _walk(section, definitions, f"{key}.")
    yield from nested


def _without_null(field: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return an optional field as what it is when given: TOML has no null, leaving it out is the only way."""
    kinds = [kind for kind in field.get("anyOf", ()) if kind.get("type") != "null"]
    return {**kinds[0], **field} if len(kinds) == 1 else field


def _describe(field: Mapping[str, Any]) -> str:
    """Return what a JSON Schema property accepts, in words."""
    if "enum" in field:
        return "one of " + ", ".join(f'"{value}"' for value in field["enum"])
    kind = str(field["type"])
    words = {
        "integer": "a whole number",
        "number": "a number",
        "string": "a path" if field.get("format") == "path" else "text",
        "boolean": "true or false",
        "object": "a table of values",
    }[kind]
    bounds = [
        f"{phrase} {field[name]:g}"
        for name, phrase in (
            ("exclusiveMinimum", "greater than"),
            ("minimum", "at least"),
            ("exclusiveMaximum", "less than"),
            ("maximum", "at most"),
        )
        if name in field
    ]
    return " ".join([words, " and ".join(bounds)]).strip()
