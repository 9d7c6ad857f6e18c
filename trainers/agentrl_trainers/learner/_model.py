"""A transformers causal model as the trainer sees it: log-probs and entropies of sampled tokens.

Axis legend: B = rows, L = padded length, D = hidden size, V = vocabulary, M = sampled tokens of a micro-batch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch.utils.checkpoint import checkpoint

from agentrl.errors import ConfigError
from agentrl_trainers.learner._model_folder import no_progress_bars
from agentrl_trainers.learner._pack import MicroBatch

CHUNK = 1 << 26
"""Most logits computed at once (256 MiB in float32); beyond it they are computed again in the backward pass."""


def load_model(folder: Path, device: torch.device | str = "cpu") -> torch.nn.Module:
    """Return a causal language model in float32, ready to train, with dropout off.

    Dropout stays off because the sampler has none: log-probs of both must be of the same network.

    Raises:
        ConfigError: The folder is missing, damaged, or lacks weights that the model needs.
    """
    from transformers import AutoModelForCausalLM

    if not (folder / "config.json").is_file():
        raise ConfigError(
            f"{folder} is no model folder: it has no config.json; expected a model in transformers form "
            "(make one by `agentrl init-model`)"
        )
    loader: Any = AutoModelForCausalLM
    try:
        with no_progress_bars():
            model, info = loader.from_pretrained(
                folder, dtype=torch.float32, local_files_only=True, output_loading_info=True
            )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise ConfigError(f"model {folder} cannot be loaded: {error}; is a file damaged or missing?") from error
    broken = [str(name) for kind in ("missing_keys", "mismatched_keys") for name in info.get(kind, ())]
    if broken:
        raise ConfigError(f"model {folder} lacks weights for {len(broken)} parameters, the first is {broken[0]}")
    module: torch.nn.Module = model.to(device).eval()
    return module


class PolicyModel:
    """Computes log-probs where tokens were sampled, and logits nowhere else.

    Attributes:
        module: The transformers model.
    """

    def __init__(self, module: torch.nn.Module) -> None:
        self.module = module
        model: Any = module
        self._backbone: torch.nn.Module = model.base_model
        self._head: Any = model.get_output_embeddings()
        self._split = self._splits_cleanly()

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.module.parameters()).device

    def logprobs(
        self, micro: MicroBatch, temperature: float, *, entropy_gradient: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return log-prob and entropy in nats of each sampled token [M] under softmax(logits / temperature).

        Args:
            micro: On the model's device.
            temperature: Sampling temperature, above 0.
            entropy_gradient: Whether gradient flows through the entropies; without it they cost less.
        """
        logprob_M, entropy_M, _ = self.read(micro, temperature, entropy_gradient=entropy_gradient)
        return logprob_M, entropy_M

    def read(
        self, micro: MicroBatch, temperature: float, *, entropy_gradient: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return what `logprobs` does, and the last hidden state before each sampled token [M, D]."""
        if not self._split:
            output = self.module(input_ids=micro.tokens_BL, use_cache=False, output_hidden_states=True)
            logits_MV = output.logits.flatten(0, 1).index_select(0, micro.source_M)
            hidden_MD = output.hidden_states[-1].flatten(0, 1).index_select(0, micro.source_M)
            return *_measure(logits_MV, micro.target_M, temperature, entropy_gradient), hidden_MD
        hidden_MD = self.hidden(micro)
        return *self._score_all(hidden_MD, micro.target_M, temperature, entropy_gradient), hidden_MD

    def hidden(self, micro: MicroBatch) -> torch.Tensor:
        """Return the last hidden state before each sampled token [M, D]."""
        hidden_BLD: torch.Tensor = self._backbone(input_ids=micro.tokens_BL, use_cache=False).last_hidden_state
        return hidden_BLD.flatten(0, 1).index_select(0, micro.source_M)

    @torch.no_grad()
    def squares(self, micro: MicroBatch, temperature: float) -> torch.Tensor:
        """Return the sum of the squared probabilities of all tokens, before each sampled token [M]."""
        if not self._split:
            logits_BLV: torch.Tensor = self.module(input_ids=micro.tokens_BL, use_cache=False).logits
            return _squares(logits_BLV.flatten(0, 1).index_select(0, micro.source_M), temperature)
        parts = torch.split(self.hidden(micro), max(1, CHUNK // self._head.weight.shape[0]))
        return torch.cat([_squares(self._head(part_MD), temperature) for part_MD in parts])

    def _score_all(
        self, hidden_MD: torch.Tensor, target_M: torch.Tensor, temperature: float, entropy_gradient: bool
    ) -> tuple[torch.Tensor, torch.Tensor]:
        step = max(1, CHUNK // self._head.weight.shape[0])
        if len(hidden_MD) <= step:
            return self._score(hidden_MD, target_M, temperature, entropy_gradient)
        parts = [
            checkpoint(self._score, hidden, target, temperature, entropy_gradient, use_reentrant=False)
            for hidden, target in zip(torch.split(hidden_MD, step), torch.split(target_M, step), strict=True)
        ]
        return torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])

    def _score(
        self, hidden_MD: torch.Tensor, target_M: torch.Tensor, temperature: float, entropy_gradient: bool
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return _measure(self._head(hidden_MD), target_M, temperature, entropy_gradient)

    @torch.no_grad()
    def _splits_cleanly(self) -> bool:
        """Return whether the model's logits are just its output layer on the last hidden state.

        Some families scale or cap logits after it; for those all logits are computed by the model itself.
        """
        if self._head is None:
            return False
        probe_BL = torch.arange(4, device=self.device)[None]
        whole = self.module(input_ids=probe_BL, use_cache=False).logits
        split = self._head(self._backbone(input_ids=probe_BL, use_cache=False).last_hidden_state)
        return whole.shape == split.shape and bool(torch.allclose(whole, split, rtol=1e-5, atol=1e-5))


def _squares(logits_MV: torch.Tensor, temperature: float) -> torch.Tensor:
    return (logits_MV.float() / temperature).softmax(-1).square().sum(-1)


def _measure(
    logits_MV: torch.Tensor, target_M: torch.Tensor, temperature: float, entropy_gradient: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    scaled_MV = logits_MV.float() if temperature == 1.0 else logits_MV.float() / temperature
    logprob_MV = torch.log_softmax(scaled_MV, dim=-1)
    logprob_M = logprob_MV.gather(1, target_M[:, None]).squeeze(1)
    with torch.set_grad_enabled(entropy_gradient and torch.is_grad_enabled()):
        entropy_M = -(logprob_MV.exp() * logprob_MV).sum(-1)
    return logprob_M, entropy_M
