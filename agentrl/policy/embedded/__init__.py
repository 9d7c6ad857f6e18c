"""The embedded policy engine: continuous batching in this process, on CPU or one GPU. Importing it imports torch."""

from agentrl.policy.embedded._engine import EmbeddedEngine

__all__ = ["EmbeddedEngine"]
