"""The critic: values of the states before sampled tokens, by a head on the policy or by a model of its own.

Axis legend: K = sampled tokens of the batch, M = sampled tokens of a micro-batch, D = hidden size, H = value heads.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from agentrl.config import CriticSection
from agentrl_trainers.learner._flat import FlatLesson
from agentrl_trainers.learner._model import PolicyModel, load_model
from agentrl_trainers.learner._optimizer import make_optimizer, set_lr
from agentrl_trainers.learner._pack import MicroBatch
from agentrl_trainers.objectives import ValueLoss, value_loss


class Critic:
    """Estimates values and learns them with an optimizer of its own.

    Heads start at zero, so that the first values are 0 whatever the trunk says.

    Attributes:
        section: `[trainer.critic]` of the run file.
        module: Its own weights: the head and, for a model of its own, that model without its output layer.
        optimizer: Of its own weights. A head's gradient also flows into the policy's trunk, by `section.trunk`.
    """

    def __init__(
        self, section: CriticSection, policy: PolicyModel, model_folder: Path, *, heads: int, weight_decay: float
    ) -> None:
        """Make an untrained critic.

        Args:
            section: With a kind other than "none".
            policy: Whose trunk a head reads.
            model_folder: The policy's, from which a model of its own is loaded where the section names none.
            heads: Values per token.
            weight_decay: Of the optimizer.

        Raises:
            ConfigError: The model of its own cannot be loaded.
        """
        self.section = section
        folder = section.path or model_folder
        self._own = PolicyModel(load_model(folder, policy.device)) if section.kind == "model" else None
        trunk: Any = (self._own or policy).module
        self._head = torch.nn.Linear(trunk.config.get_text_config().hidden_size, heads, device=policy.device)
        torch.nn.init.zeros_(self._head.weight)
        torch.nn.init.zeros_(self._head.bias)
        parts: dict[str, torch.nn.Module] = {"head": self._head}
        if self._own is not None:
            parts["trunk"] = trunk.base_model
        self.module = torch.nn.ModuleDict(parts)
        self.optimizer = make_optimizer(self.module, section.lr, weight_decay)
        set_lr(self.optimizer, section.lr)

    @property
    def heads(self) -> int:
        """Values per token."""
        return self._head.out_features

    @property
    def reads_policy(self) -> bool:
        """Whether it needs the policy's hidden states."""
        return self._own is None

    def values(self, micro: MicroBatch, hidden_MD: torch.Tensor | None) -> torch.Tensor:
        """Return the values of the states before the sampled tokens [M, H].

        Args:
            micro: On the critic's device.
            hidden_MD: The policy's hidden states, for a head on it.
        """
        if self._own is not None:
            hidden_MD = self._own.hidden(micro)
        if hidden_MD is None:
            raise ValueError("a value head needs the hidden states of the policy")
        value_MH: torch.Tensor = self._head(hidden_MD.float())
        return value_MH

    def lesson(
        self, micro: MicroBatch, hidden_MD: torch.Tensor, lesson: FlatLesson, *, trunk: float
    ) -> tuple[torch.Tensor, torch.Tensor, ValueLoss]:
        """Return values, targets and losses [C] of the C targets among a micro-batch's tokens.

        Args:
            micro: On the critic's device.
            hidden_MD: The policy's hidden states.
            lesson: Of the whole batch.
            trunk: Factor of the gradient into `hidden_MD`; the head's own gradient is whole.
        """
        if self.reads_policy:
            detached_MD = hidden_MD.detach()
            hidden_MD = detached_MD if trunk == 0 else trunk * hidden_MD + (1 - trunk) * detached_MD
        chosen_MH = lesson.target_KH[micro.flat_M]
        value_C = self.values(micro, hidden_MD)[chosen_MH]
        old_C = lesson.old_KH[micro.flat_M][chosen_MH]
        return_C = lesson.return_KH[micro.flat_M][chosen_MH]
        return value_C.detach(), return_C, value_loss(value_C, old_C, return_C, clip=self.section.clip)
