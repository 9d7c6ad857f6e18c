"""Renderers: from messages to tokens and from sampled tokens to messages."""

from agentrl.rendering._base import ParsedAction, Renderer

__all__ = ["ParsedAction", "Renderer"]
