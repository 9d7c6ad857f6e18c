"""Reading new weights and copying them into a model in place."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from agentrl.errors import PolicyError
from agentrl.policy._base import WeightSource


def read_weights(source: WeightSource) -> Mapping[str, torch.Tensor]:
    """Return the tensors of a weight source: a mapping as it is, or every safetensors file of a folder.

    Raises:
        PolicyError: The folder holds no readable safetensors file.
    """
    if isinstance(source, Mapping):
        return source
    files = sorted(Path(source).glob("*.safetensors"))
    if not files:
        raise PolicyError(
            f"no weights in {source}: expected at least one *.safetensors file; write them with save_pretrained"
        )
    tensors: dict[str, torch.Tensor] = {}
    for file in files:
        try:
            tensors.update(load_file(file))
        except (SafetensorError, OSError) as error:
            raise PolicyError(
                f"cannot read weights from {file}: {error}; is it damaged or still being written?"
            ) from error
    return tensors


class WeightTable:
    """The tensors of a model that an update replaces, by the names of its `state_dict`.

    Args:
        model: A transformers model; its parameters and persistent buffers are the targets.
    """

    def __init__(self, model: Any) -> None:
        self._targets: dict[str, torch.Tensor] = model.state_dict(keep_vars=True)
        self._aliases: dict[str, str] = {}
        seen: dict[int, str] = {}
        for name, tensor in self._targets.items():
            # Tied tensors, such as the head of a tied model, may be given under either name or both.
            first = seen.setdefault(id(tensor), name)
            if first != name:
                self._aliases[name] = first

    def check(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Raise PolicyError unless `tensors` replaces every weight, with the right shapes, and names nothing else."""
        unknown = sorted(set(tensors) - set(self._targets))
        given = {self._aliases.get(name, name) for name in tensors}
        missing = sorted(name for name in self._targets if self._aliases.get(name, name) not in given)
        if unknown or missing:
            raise PolicyError(
                f"the new weights are of another model: {_some('missing', missing)}{_some('unknown', unknown)}"
                "expected the names of the model's state_dict"
            )
        for name, tensor in tensors.items():
            if not isinstance(tensor, torch.Tensor):
                raise PolicyError(f"the new weights hold a {type(tensor).__name__} under {name}, expected a tensor")
            if tensor.shape != self._targets[name].shape:
                raise PolicyError(
                    f"the new weights are of another model: {name} has shape {tuple(tensor.shape)}, "
                    f"expected {tuple(self._targets[name].shape)}"
                )

    def copy(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Copy checked tensors into the model, converting type and device; nothing of `tensors` is kept."""
        with torch.no_grad():
            for name, tensor in tensors.items():
                self._targets[name].copy_(tensor)


def _some(label: str, names: list[str]) -> str:
    if not names:
        return ""
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return f"{label} {shown}; "
