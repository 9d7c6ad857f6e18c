"""Checkpoints: everything a learner needs to take the steps it would have taken. JSON and safetensors, no pickle.

step-000012/
├── model/                 in transformers form, tokenizer included: usable wherever a model folder is
├── optimizer.safetensors  AdamW's moments by parameter name, and the state of torch's random generators
├── critic.safetensors     the critic's own weights and their moments, where the run has a critic
└── checkpoint.json        step, version, identity of the model, file sizes, what the caller adds
"""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from agentrl.errors import ConfigError
from agentrl_trainers.learner._critic import Critic
from agentrl_trainers.learner._files import remove_leftovers, whole_folder
from agentrl_trainers.learner._learner import Learner
from agentrl_trainers.learner._model import load_model
from agentrl_trainers.learner._model_folder import ModelIdentity, write_model

FORMAT = 1
MODEL = "model"
_MANIFEST = "checkpoint.json"
_OPTIMIZER = "optimizer.safetensors"
_CRITIC = "critic.safetensors"
_WEIGHT = "weight"
_NAME = re.compile(r"step-(\d+)")


@dataclass(frozen=True, slots=True)
class CheckpointState:
    """What a checkpoint says beside weights and optimizer.

    Attributes:
        step: Training steps taken.
        version: Policy version of its weights.
        config_hash: Of the run file that made it, "" where the caller gave none.
        extra: JSON values of the caller, e.g. a store cursor.
    """

    step: int
    version: int
    config_hash: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)


def save_checkpoint(
    folder: Path, learner: Learner, *, config_hash: str = "", extra: Mapping[str, Any] | None = None
) -> CheckpointState:
    """Write a checkpoint so that `folder` appears whole and durable, or not at all. Older ones are not touched.

    Call `prune_checkpoints` once whatever refers to the checkpoint is durable too.

    Raises:
        StoreError: The disk is full or the folder not writable; an older checkpoint of that name stays.
    """
    state = CheckpointState(learner.step, learner.version, config_hash, dict(extra or {}))
    with whole_folder(folder) as temporary:
        write_model(learner.policy.module, temporary / MODEL, learner.model_folder)
        save_file(_optimizer_tensors(learner), temporary / _OPTIMIZER)
        if learner.critic is not None:
            save_file(_critic_tensors(learner.critic), temporary / _CRITIC)
        files = {
            str(path.relative_to(temporary)): path.stat().st_size for path in temporary.rglob("*") if path.is_file()
        }
        identity = ModelIdentity.of(learner.policy.module, learner.model_folder)
        manifest = {
            "format": FORMAT,
            **dataclasses.asdict(state),
            "model": dataclasses.asdict(identity),
            "files": files,
        }
        (temporary / _MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    return state


def load_checkpoint(folder: Path, learner: Learner) -> CheckpointState:
    """Put a learner, made from the run's model, into the state of a checkpoint: its next steps are bit-equal.

    Raises:
        ConfigError: A file is missing or damaged (named), or the checkpoint is of another model (both named). The
            learner is unchanged then.
    """
    manifest = _manifest(folder)
    there = ModelIdentity(**manifest["model"])
    here = ModelIdentity.of(learner.policy.module, learner.model_folder)
    if there != here:
        raise ConfigError(
            f"checkpoint {folder} is of another model: it holds {there}; the run's model {learner.model_folder} is "
            f"{here}. Resume with the model that the run began with, or start a new run with another output folder"
        )
    tensors = _load_tensors(folder / _OPTIMIZER)
    weights = load_model(folder / MODEL).state_dict()
    if "random.cpu" not in tensors:
        raise ConfigError(f"{folder / _OPTIMIZER} is damaged: it lacks random.cpu; use an older checkpoint")
    moments = _moments(folder / _OPTIMIZER, tensors, learner.policy.module)
    if learner.critic is not None:
        _load_critic(folder, learner.critic)
    learner.policy.module.load_state_dict(weights)
    learner.optimizer.state.clear()
    for parameter, values in moments.items():
        learner.optimizer.state[parameter] = values
    torch.set_rng_state(tensors["random.cpu"])
    if "random.cuda" in tensors and learner.policy.device.type == "cuda":
        torch.cuda.set_rng_state(tensors["random.cuda"], learner.policy.device)
    learner.step, learner.version = manifest["step"], manifest["version"]
    return CheckpointState(manifest["step"], manifest["version"], manifest["config_hash"], manifest["extra"])


def checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints in a folder, oldest first; they are named `step-NUMBER`."""
    found = [(int(match[1]), path) for path in folder.glob("step-*") if (match := _NAME.fullmatch(path.name))]
    return [path for _, path in sorted(found)]


def prune_checkpoints(folder: Path, keep: int, protect: Collection[Path] = ()) -> list[Path]:
    """Remove all but the newest `keep` checkpoints, and what killed processes left; return what was removed.

    Args:
        folder: Where the checkpoints are.
        keep: At least 1.
        protect: Checkpoints that stay whatever their age.
    """
    remove_leftovers(folder)
    protected = {path.resolve() for path in protect}
    old = [path for path in checkpoints(folder)[: -max(1, keep)] if path.resolve() not in protected]
    for path in old:
        shutil.rmtree(path)
    return old


def _manifest(folder: Path) -> dict[str, Any]:
    path = folder / _MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        if manifest["format"] != FORMAT:
            raise ConfigError(f"{path} is of format {manifest['format']}, this version reads format {FORMAT}")
        missing = {"step", "version", "config_hash", "extra", "model", "files"} - set(manifest)
        if missing:
            raise ConfigError(f"{path} is damaged: it lacks {', '.join(sorted(missing))}; use an older checkpoint")
    except OSError as error:
        raise ConfigError(f"{folder} is no checkpoint: {path.name} cannot be read ({error.strerror})") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path} is damaged: {error!r}; use an older checkpoint") from error
    for name, size in manifest["files"].items():
        file = folder / name
        if not file.is_file():
            raise ConfigError(f"checkpoint {folder} is damaged: {file} is missing; use an older checkpoint")
        if file.stat().st_size != size:
            raise ConfigError(
                f"checkpoint {folder} is damaged: {file} has {file.stat().st_size} bytes instead of {size}; "
                "use an older checkpoint"
            )
    return dict(manifest)


def _load_tensors(path: Path) -> dict[str, torch.Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise ConfigError(f"{path} is missing or damaged: {error}; use an older checkpoint") from error


def _optimizer_tensors(learner: Learner) -> dict[str, torch.Tensor]:
    tensors = {"random.cpu": torch.get_rng_state()}
    if learner.policy.device.type == "cuda":
        tensors["random.cuda"] = torch.cuda.get_rng_state(learner.policy.device)
    return tensors | _moment_tensors(learner.policy.module, learner.optimizer)


def _moment_tensors(module: torch.nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    return {
        f"{key}/{name}": value.detach().cpu().contiguous()
        for name, parameter in module.named_parameters()
        for key, value in optimizer.state.get(parameter, {}).items()
    }


def _critic_tensors(critic: Critic) -> dict[str, torch.Tensor]:
    weights = critic.module.state_dict().items()
    tensors = {f"{_WEIGHT}/{name}": tensor.detach().cpu().clone() for name, tensor in weights}
    return tensors | _moment_tensors(critic.module, critic.optimizer)


def _load_critic(folder: Path, critic: Critic) -> None:
    path = folder / _CRITIC
    if not path.is_file():
        raise ConfigError(
            f"checkpoint {folder} has no critic ({path.name} is missing), the run file has one: resume with the "
            '`[trainer.critic]` that the run began with, or `kind = "none"`'
        )
    tensors = _load_tensors(path)
    prefix = f"{_WEIGHT}/"
    weights = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    here = {name: tuple(tensor.shape) for name, tensor in critic.module.state_dict().items()}
    there = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    if here != there:
        name = min(name for name, _ in here.items() ^ there.items())
        raise ConfigError(
            f"checkpoint {folder} is of another critic: {name} is {there.get(name, 'missing')} in it and "
            f"{here.get(name, 'missing')} in the run's. Resume with the `[trainer.critic]` that the run began with"
        )
    moments = _moments(
        path,
        {name: tensor for name, tensor in tensors.items() if name not in {prefix + weight for weight in weights}},
        critic.module,
    )
    critic.module.load_state_dict(weights)
    critic.optimizer.state.clear()
    for parameter, values in moments.items():
        critic.optimizer.state[parameter] = values


def _moments(
    path: Path, tensors: Mapping[str, torch.Tensor], module: torch.nn.Module
) -> dict[torch.nn.Parameter, dict[str, torch.Tensor]]:
    """Return AdamW's state by parameter; tensors are copied to where the parameter is."""
    parameters = dict(module.named_parameters())
    moments: dict[torch.nn.Parameter, dict[str, torch.Tensor]] = {}
    for key, tensor in tensors.items():
        kind, _, name = key.partition("/")
        if not name:
            continue
        parameter = parameters.get(name)
        if parameter is None or (kind != "step" and tensor.shape != parameter.shape):
            raise ConfigError(f"{path} is damaged: {key} {tuple(tensor.shape)} fits no parameter of the model")
        moments.setdefault(parameter, {})[kind] = tensor.to(parameter.device)
    return moments
