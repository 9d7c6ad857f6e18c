"""From trajectories to the ragged arrays that credit works on."""

from __future__ import annotations

import itertools
import math
from collections.abc import Hashable, Sequence

import numpy as np
import torch

from agentrl.trajectory import Status, Trajectory
from agentrl_trainers.credit._batch import CreditBatch
from agentrl_trainers.credit.information import beliefs_of


def credit_batch(trajectories: Sequence[Trajectory], *, dtype: torch.dtype = torch.float32) -> CreditBatch:
    """Return the rewards and the structure of trajectories, in their order.

    Tokens are in the order of turns, as `trajectory.turns` has them. The part of a trajectory's reward that its turns
    did not earn (the outcome) sits on its last turn. Parts of the reward are summed over the turns and the end.
    Entropies are kept only where every sampled token has one, beliefs in the true answer where any trajectory carries
    them. Anchors are equal only within one environment. Tokens of a span that several trajectories hold (branches) are
    known as the same.

    Args:
        trajectories: Finished and scored; members of one group share `group_id` and need not be adjacent.
        dtype: Of the rewards.

    Raises:
        ValueError: A trajectory is an error or was never scored: it says nothing about the policy and must not be
            trained on as a zero.
    """
    numbers: dict[Hashable, int] = {}

    def number(key: Hashable) -> int:
        return numbers.setdefault(key, len(numbers))

    groups: dict[str, int] = {}
    rewards: list[float] = []
    turn_rewards: list[list[float]] = []
    anchors: list[int] = []
    lengths: list[int] = []
    beliefs: list[np.ndarray | None] = []
    spans: dict[str, int] = {}
    copies: list[int] = []
    entropies: list[np.ndarray | None] = []
    for trajectory in trajectories:
        reward = _reward(trajectory)
        rewards.append(reward)
        groups.setdefault(trajectory.group_id, len(groups))
        earned = [sum(turn.rewards.values()) for turn in trajectory.turns]
        if earned:
            earned[-1] += reward - sum(earned)
        turn_rewards.append(earned)
        beliefs.append(beliefs_of(trajectory))
        for turn in trajectory.turns:
            anchors.append(-1 if turn.anchor is None else number((trajectory.env, turn.anchor)))
            span = trajectory.action_span(turn)
            copies.append(spans.setdefault(span.id, len(lengths)))
            lengths.append(len(span))
            entropies.append(span.entropies)

    turns_N = torch.tensor([len(earned) for earned in turn_rewards], dtype=torch.int64)
    trajectory_T = torch.repeat_interleave(torch.arange(len(rewards)), turns_N)
    first_T = (turns_N.cumsum(0) - turns_N)[trajectory_T]
    turn_K = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths, dtype=torch.int64))
    part_names, part_NP = _parts(trajectories, dtype)
    known = [entropy for entropy in entropies if entropy is not None]
    return CreditBatch(
        group_N=torch.tensor([groups[trajectory.group_id] for trajectory in trajectories], dtype=torch.int64),
        reward_N=torch.tensor(rewards, dtype=dtype),
        trajectory_T=trajectory_T,
        turn_T=torch.arange(len(lengths)) - first_T,
        reward_T=torch.tensor(list(itertools.chain.from_iterable(turn_rewards)), dtype=dtype),
        anchor_T=torch.tensor(anchors, dtype=torch.int64),
        valid_T=torch.tensor([turn.valid for row in trajectories for turn in row.turns], dtype=torch.bool),
        turn_K=turn_K,
        finished_N=torch.tensor([row.status is Status.OK for row in trajectories], dtype=torch.bool),
        entropy_K=torch.from_numpy(np.concatenate(known)) if known and len(known) == len(entropies) else None,
        part_NP=part_NP,
        part_names=part_names,
        belief_T=_beliefs(beliefs, turns_N.tolist(), dtype),
        shared_K=_shared(lengths, copies, turn_K) if len(spans) < len(lengths) else None,
    )


def _parts(trajectories: Sequence[Trajectory], dtype: torch.dtype) -> tuple[tuple[str, ...], torch.Tensor | None]:
    """Return the names of all reward parts and their sums; nan where a part was not scored or is another env's."""
    names: dict[str, set[str]] = {}
    for trajectory in trajectories:
        for name in itertools.chain(trajectory.reward_parts, *(turn.rewards for turn in trajectory.turns)):
            names.setdefault(name, set()).add(trajectory.env)
    if not names:
        return (), None
    rows = []
    for trajectory in trajectories:
        row = {name: 0.0 if trajectory.env in places else math.nan for name, places in names.items()}
        for turn in trajectory.turns:
            for name, value in turn.rewards.items():
                row[name] += value
        for name, part in trajectory.reward_parts.items():
            row[name] += math.nan if part is None else part
        rows.append(list(row.values()))
    return tuple(names), torch.tensor(rows, dtype=dtype)


def _beliefs(beliefs: list[np.ndarray | None], turns: list[int], dtype: torch.dtype) -> torch.Tensor | None:
    if all(belief is None for belief in beliefs):
        return None
    pairs = zip(beliefs, turns, strict=True)
    known = [np.full(count, np.nan) if belief is None else belief for belief, count in pairs]
    return torch.from_numpy(np.concatenate(known)).to(dtype)


def _shared(lengths: list[int], copies: list[int], turn_K: torch.Tensor) -> torch.Tensor:
    """Return the index of the first copy of each token; `copies` is the first turn with the same span, per turn."""
    start_T = np.cumsum([0, *lengths])[:-1]
    return torch.arange(len(turn_K)) + torch.from_numpy(start_T[copies] - start_T)[turn_K]


def _reward(trajectory: Trajectory) -> float:
    if trajectory.status is Status.ERROR:
        raise ValueError(
            f"trajectory {trajectory.id} is an error ({trajectory.stop_reason}: {trajectory.error}): leave errors out "
            "of the batch, they are retried and counted but never trained on"
        )
    if trajectory.reward is None:
        raise ValueError(f"trajectory {trajectory.id} was never scored (reward is None): leave it out of the batch")
    return trajectory.reward
