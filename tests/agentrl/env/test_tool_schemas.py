"""What `@tool` makes of a signature: the schema that every model and client sees."""

from __future__ import annotations

import enum
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from agentrl import ConfigError, Env, tool


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Address(BaseModel):
    """Where to send it."""

    street: str
    number: int = Field(1, title="No.", description="House number.")


def parameters(env_class: type[Env], name: str) -> dict[str, Any]:
    schema = env_class.tool_specs[name].schema
    assert schema["type"] == "function"
    result: dict[str, Any] = schema["function"]["parameters"]
    return result


def test_schema_of_the_design_example_is_exact() -> None:
    class Shop(Env):
        @tool
        def add(self, item: str, qty: int = 1) -> str:
            """Put an item in the cart.

            The cart keeps its order.

            Args:
                item: Exact catalogue name,
                    as the catalogue spells it.
                qty: Number of pieces.
            """
            return ""

    assert Shop.tool_specs["add"].schema == {
        "type": "function",
        "function": {
            "name": "add",
            "description": "Put an item in the cart.\n\nThe cart keeps its order.",
            "parameters": {
                "type": "object",
                "properties": {
                    "item": {"type": "string", "description": "Exact catalogue name, as the catalogue spells it."},
                    "qty": {"type": "integer", "default": 1, "description": "Number of pieces."},
                },
                "required": ["item"],
                "additionalProperties": False,
            },
        },
    }


def test_literals_enums_optionals_and_lists() -> None:
    class Many(Env):
        @tool
        async def go(
            self,
            side: Literal["left", "right"],
            colour: Colour,
            tags: list[str],
            limit: float | None = None,
            counts: dict[str, int] | None = None,
        ) -> str:
            """Go."""
            return ""

    schema = parameters(Many, "go")
    assert schema["properties"]["side"] == {"enum": ["left", "right"], "type": "string"}
    assert schema["properties"]["colour"] == {"$ref": "#/$defs/Colour"}
    assert schema["$defs"]["Colour"] == {"enum": ["red", "blue"], "type": "string"}
    assert schema["properties"]["tags"] == {"type": "array", "items": {"type": "string"}}
    assert schema["properties"]["limit"] == {"anyOf": [{"type": "number"}, {"type": "null"}], "default": None}
    assert schema["required"] == ["side", "colour", "tags"]


def test_nested_models_keep_descriptions_and_lose_titles() -> None:
    class Post(Env):
        @tool
        def send(self, to: Address, copies: Annotated[int, Field(ge=1, description="How many.")] = 1) -> str:
            """Send it."""
            return ""

    schema = parameters(Post, "send")
    assert schema["$defs"]["Address"] == {
        "description": "Where to send it.",
        "type": "object",
        "properties": {
            "street": {"type": "string"},
            "number": {"type": "integer", "default": 1, "description": "House number."},
        },
        "required": ["street"],
    }
    assert schema["properties"]["copies"]["minimum"] == 1
    assert "title" not in repr(schema)


def test_parameters_may_have_names_that_pydantic_uses_itself() -> None:
    class Odd(Env):
        @tool
        def put(self, title: str, schema: str, copy: int, model_config: str, json: str = "{}") -> str:
            """Put."""
            return f"{title} {schema} {copy} {model_config} {json}"

    assert list(parameters(Odd, "put")["properties"]) == ["title", "schema", "copy", "model_config", "json"]
    bound = Odd.tool_specs["put"].signature.bind({"title": "a", "schema": "b", "copy": 1, "model_config": "c"})
    assert bound == {"title": "a", "schema": "b", "copy": 1, "model_config": "c", "json": "{}"}


def test_a_tool_without_parameters_has_an_empty_object() -> None:
    class Bell(Env):
        @tool
        def ring(self) -> str:
            """Ring."""
            return "ding"

    assert parameters(Bell, "ring") == {
        "type": "object",
        "properties": {},
        "required": [],
        "additionalProperties": False,
    }


def test_types_of_the_enclosing_function_are_found() -> None:
    class Local(BaseModel):
        x: int

    class Inner(Env):
        @tool
        def take(self, value: Local) -> str:
            """Take."""
            return ""

    assert "Local" in parameters(Inner, "take")["$defs"]


def bad_undocumented() -> None:
    class Bad(Env):
        @tool
        def add(self, item: str) -> str:
            return item


def bad_untyped() -> None:
    class Bad(Env):
        @tool
        def add(self, item) -> str:
            """Add."""
            return str(item)


def bad_docstring_name() -> None:
    class Bad(Env):
        @tool
        def add(self, item: str) -> str:
            """Add.

            Args:
                itme: What.
            """
            return item


def bad_var_arguments() -> None:
    class Bad(Env):
        @tool
        def add(self, *items: str) -> str:
            """Add."""
            return str(items)


def bad_type() -> None:
    class Bad(Env):
        @tool
        def add(self, item: object.__class__) -> str:
            """Add."""
            return str(item)


def bad_unknown_type() -> None:
    class Bad(Env):
        @tool
        def add(self, item: Nowhere) -> str:  # noqa: F821
            """Add."""
            return str(item)


def bad_reserved_name() -> None:
    class Bad(Env):
        @tool
        def step(self) -> str:
            """Step."""
            return ""


def bad_own_name() -> None:
    class Bad(Env):
        @tool
        def anchor(self) -> str:
            """Anchor."""
            return ""


def bad_no_self() -> None:
    class Bad(Env):
        @staticmethod
        @tool
        def add(item: str) -> str:
            """Add."""
            return item


@pytest.mark.parametrize(
    ("define", "message"),
    [
        (bad_undocumented, "'add' has no docstring"),
        (bad_untyped, "lacks a type for 'item'"),
        (bad_docstring_name, "documents 'itme'.*did you mean 'item'"),
        (bad_var_arguments, r"\*items.*must have a name"),
        (bad_type, "add"),
        (bad_unknown_type, "'Nowhere'"),
        (bad_reserved_name, "cannot be called 'step'"),
        (bad_own_name, "'anchor' cannot be the name"),
        (bad_no_self, "plain method that takes `self`"),
    ],
)
def test_a_badly_defined_tool_is_refused_at_class_definition(define: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        define()
    assert "test_tool_schemas" in str(caught.value), "the message names the file"


def test_the_message_names_the_line() -> None:
    with pytest.raises(ConfigError) as caught:
        bad_undocumented()
    line = bad_undocumented.__code__.co_firstlineno + 2
    assert f"test_tool_schemas.py:{line}:" in str(caught.value)


def test_tools_are_inherited_and_can_be_replaced_only_by_tools() -> None:
    class Base(Env):
        @tool
        def first(self) -> str:
            """First."""
            return "base"

    class Child(Base):
        @tool
        def second(self) -> str:
            """Second."""
            return ""

        @tool
        def first(self, loud: bool = False) -> str:
            """First, louder."""
            return "child"

    assert list(Child.tool_specs) == ["first", "second"]
    assert "loud" in parameters(Child, "first")["properties"]
    assert parameters(Base, "first")["properties"] == {}
    with pytest.raises(ConfigError, match="put @tool above it"):

        class Bad(Base):
            def first(self) -> str:
                return "silent"
