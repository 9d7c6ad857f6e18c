"""The bus: messages between the parts of a run, at least once, and who is present."""

from agentrl.bus._base import MAX_PAYLOAD, Bus, Delivery, Subscription
from agentrl.bus._in_process import InProcessBus

__all__ = ["MAX_PAYLOAD", "Bus", "Delivery", "InProcessBus", "Subscription"]
