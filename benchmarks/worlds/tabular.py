"""A small multi-turn world whose exact advantages are known: a maze of rooms, solved by linear algebra.

An agent walks from the first room; each turn it chooses one of three doors at random, as its policy has it. Doors may
slip to another room, some give a small reward on the way, and two rooms end the episode: the goal (reward 1) and the
trap (reward 0). Walks meet again in the same rooms, of the same walk too, so that methods that compare equal states
have something to compare. The state is all there is: nothing is hidden in the history.

Axis legend: S = rooms, A = doors, R = trajectories, N = trajectories of a batch, T = turns, K = tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]

ROOMS, DOORS = 14, 3
GOAL, TRAP = ROOMS, ROOMS + 1
LONGEST = 64
"""Turns after which a walk is cut; fewer than one in a million gets there."""


@dataclass(frozen=True)
class World:
    """The maze with a policy, and what is true in it.

    Attributes:
        policy_SA: Probability of each door.
        move_SAS: Where doors lead; the last two columns are the goal and the trap.
        reward_SA: Reward on the way.
        value_S: Exact value under the policy, undiscounted.
        quality_SA: Exact value after choosing a door.
        advantage_SA: Exact advantages A(s, a) = Q(s, a) − V(s).
        entropy_S: Entropy of the policy in nats.
    """

    policy_SA: Float
    move_SAS: Float
    reward_SA: Float
    value_S: Float
    quality_SA: Float
    advantage_SA: Float
    entropy_S: Float


@dataclass(frozen=True)
class Walks:
    """Trajectories as flat arrays, turns of one walk contiguous.

    Attributes:
        trajectory_T, turn_T, room_T, door_T: Walk of each turn, its place in it, where it stood and what it chose.
        reward_T: Reward of the turn, the outcome on the last.
        finished_N: Whether the walk ended by itself.
    """

    trajectory_T: Int
    turn_T: Int
    room_T: Int
    door_T: Int
    reward_T: Float
    finished_N: npt.NDArray[np.bool_]


def make_world(seed: int = 0) -> World:
    """Return a random maze: doors lead two rooms on, one on, or back; the policy prefers them at random."""
    rng = np.random.default_rng(seed)
    move_SAS = np.zeros((ROOMS, DOORS, ROOMS + 2))
    for room in range(ROOMS):
        for door in range(DOORS):
            step = (2, 1, -1)[door]
            after = room + step
            target = GOAL if after >= ROOMS else max(after, 0)
            slip = rng.integers(0, ROOMS)
            fall = 0.4 * rng.random() ** 2
            move_SAS[room, door, target] += 0.9 - fall
            move_SAS[room, door, slip] += 0.1
            move_SAS[room, door, TRAP] += fall
    policy_SA = np.exp(rng.normal(0, 0.7, (ROOMS, DOORS)) + np.array([0.3, 0.3, 0.0]))
    policy_SA /= policy_SA.sum(1, keepdims=True)
    reward_SA = np.where(rng.random((ROOMS, DOORS)) < 0.15, 0.1, 0.0)
    gain_SA = reward_SA + move_SAS[:, :, GOAL]
    inner_SAS = move_SAS[:, :, :ROOMS]
    stay_SS = np.einsum("sa,sat->st", policy_SA, inner_SAS)
    value_S = np.linalg.solve(np.eye(ROOMS) - stay_SS, (policy_SA * gain_SA).sum(1))
    quality_SA = gain_SA + inner_SAS @ value_S
    entropy_S = -(policy_SA * np.log(policy_SA)).sum(1)
    return World(policy_SA, move_SAS, reward_SA, value_S, quality_SA, quality_SA - value_S[:, None], entropy_S)


def walk(world: World, count: int, rng: np.random.Generator) -> Walks:
    """Return `count` independent walks from the first room."""
    chance_SA, chance_SAS = world.policy_SA.cumsum(1), world.move_SAS.cumsum(2)
    room_R = np.zeros(count, np.int64)
    alive = np.arange(count)
    rows: list[tuple[Int, Int, Int, Int, Float]] = []
    for turn in range(LONGEST):
        room = room_R[alive]
        door = (rng.random((len(alive), 1)) > chance_SA[room]).sum(1).clip(max=DOORS - 1)
        after = (rng.random((len(alive), 1)) > chance_SAS[room, door]).sum(1).clip(max=TRAP)
        reward = world.reward_SA[room, door] + (after == GOAL)
        rows.append((alive, np.full(len(alive), turn), room, door, reward))
        room_R[alive] = after
        alive = alive[after < ROOMS]
        if not len(alive):
            break
    trajectory_T, turn_T, room_T, door_T, reward_T = (np.concatenate(column) for column in zip(*rows, strict=True))
    order = np.lexsort((turn_T, trajectory_T))
    return Walks(trajectory_T[order], turn_T[order], room_T[order], door_T[order], reward_T[order], room_R >= ROOMS)
