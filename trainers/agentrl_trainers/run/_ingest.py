"""From the bus to the store: a trajectory is acknowledged once it is durable."""

from __future__ import annotations

import asyncio

from agentrl.bus import Bus
from agentrl.store import TrajectoryStore
from agentrl.trajectory import Trajectory, decode_trajectory, encode_trajectory

TOPIC = "trajectories"


async def publish(bus: Bus, trajectory: Trajectory) -> None:
    """Hand a finished trajectory to whoever trains; the rollout side's half of `ingest`."""
    await bus.publish(TOPIC, encode_trajectory(trajectory))


async def ingest(bus: Bus, store: TrajectoryStore, arrived: asyncio.Event) -> None:
    """Store what arrives, then acknowledge it, then wake the trainer by `arrived`. Runs until cancelled.

    Raises:
        ProtocolError: A payload is no trajectory.
        StoreError: The store cannot keep its promise; nothing was acknowledged.
    """
    async with bus.subscribe(TOPIC, group="trainers") as deliveries:
        async for delivery in deliveries:
            await store.add(decode_trajectory(delivery.payload))
            await delivery.ack()
            arrived.set()
