"""Test doubles, shipped so that users' tests need no model and no world: a scripted engine and tiny environments."""

from agentrl.testing._engine import ScriptedCall, ScriptedEngine
from agentrl.testing._environments import CountdownDouble, CounterToolsDouble

__all__ = ["CountdownDouble", "CounterToolsDouble", "ScriptedCall", "ScriptedEngine"]
