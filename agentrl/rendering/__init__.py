"""Renderers: from messages to tokens and from sampled tokens to messages."""

from agentrl.rendering._base import ParsedAction, Renderer
from agentrl.rendering._load import RendererKind, load_renderer

__all__ = ["ParsedAction", "Renderer", "RendererKind", "load_renderer"]
