"""The run file: few fields, each with a unit and a reason. The description of a field is its help text.

Values are typed as TOML types them: `"8"` is no number and `true` no count. Relative paths are relative to the current
working directory, as on any command line, not to the folder of the run file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, model_validator


class Section(BaseModel):
    """A section of the run file; unknown keys are errors, and so are values of another type."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class EnvSection(Section):
    """One environment of a run: `[[env]]`."""

    id: str = Field(description="entry-point name, `file.py:Class` or `package.module:Class`")
    name: str = Field("", description="name in logs and ids; empty = the id")
    split: str = Field("train", description="split whose tasks are used for training")
    weight: PositiveFloat = Field(1.0, description="share of groups, relative to the other environments")
    args: dict[str, Any] = Field(default_factory=dict, description="arguments of the environment's constructor")


class RolloutSection(Section):
    """How trajectories are made: `[rollout]`."""

    groups_per_step: PositiveInt = Field(16, description="groups that one optimizer step trains on")
    group: PositiveInt = Field(8, description="trajectories of one task that are compared")
    staleness: Annotated[int, Field(ge=0)] = Field(
        2, description="policy versions a token may be old when it is trained on; 0 = synchronous"
    )
    in_flight: PositiveInt = Field(
        96,
        description="trajectories under way at the same time, more than slots, since agents wait; "
        "1 with staleness 0 and eval.every 0 = every run gives the same numbers, bit for bit",
    )
    slots: PositiveInt = Field(48, description="requests that decode at the same time in the embedded engine")
    max_turns: PositiveInt = Field(16, description="policy actions of one episode")
    max_tokens: PositiveInt = Field(32, description="sampled tokens of one turn")
    max_context: PositiveInt = Field(1024, description="tokens of a conversation, prompts and actions together")
    temperature: PositiveFloat = Field(1.0, description="sampling temperature; log-probs are taken at the same one")
    turn_timeout: PositiveFloat = Field(60.0, description="seconds one environment step may take")
    episode_timeout: PositiveFloat = Field(600.0, description="seconds one episode may take")
    retries: Annotated[int, Field(ge=0)] = Field(
        1, description="times an episode is started again after an infrastructure failure"
    )
    renderer: Literal["auto", "hermes", "text"] = Field(
        "auto", description="hermes: tool calls by chat template; text: plain text; auto: as the chat template has it"
    )


class CriticSection(Section):
    """What estimates values, for credit methods that need them: `[trainer.critic]`."""

    kind: Literal["none", "head", "model"] = Field(
        "none", description="head: a value head on the policy; model: a model of its own with a value head"
    )
    path: Path | None = Field(None, strict=False, description="folder of that model; empty = the policy's")
    lr: PositiveFloat = Field(1e-5, description="AdamW learning rate of the critic's own weights")
    warmup_steps: Annotated[int, Field(ge=0)] = Field(
        0, description="first steps of the run in which the critic learns and the policy does not move"
    )
    clip: PositiveFloat = Field(0.5, description="range in which a value may move in one step, in units of reward")
    trunk: Annotated[float, Field(ge=0)] = Field(
        0.1, description="weight of the value loss in the gradient of the policy's own weights; only for a head"
    )


class TrainerSection(Section):
    """How weights change: `[trainer]`."""

    credit: str = Field("grpo", description="from rewards to advantages, by name")
    credit_options: dict[str, Any] = Field(default_factory=dict, description="options of the credit method, by name")
    critic: CriticSection = CriticSection()
    objective: str = Field("decoupled_ppo", description="from advantages to a loss, by name")
    objective_options: dict[str, Any] = Field(default_factory=dict, description="options of the objective, by name")
    aggregation: Literal[
        "auto", "token-mean", "seq-mean-token-mean", "seq-mean-token-sum", "seq-mean-token-sum-norm"
    ] = Field("auto", description="from token losses to one number; auto: as the objective's authors have it")
    mismatch: Literal["none", "tis", "icepop", "mis"] = Field(
        "none", description="correction of each token's loss for the gap between sampler and trainer"
    )
    mismatch_options: dict[str, Any] = Field(default_factory=dict, description="options of the correction, by name")
    lr: PositiveFloat = Field(1e-6, description="AdamW learning rate")
    warmup_steps: Annotated[int, Field(ge=0)] = Field(0, description="optimizer steps of linear learning-rate warm-up")
    lr_decay: Literal["none", "linear"] = Field(
        "none", description="linear: the learning rate falls to 0 towards the last step, so that the end is calm"
    )
    weight_decay: Annotated[float, Field(ge=0)] = Field(0.0, description="AdamW weight decay")
    clip_low: Annotated[float, Field(gt=0, lt=1)] = Field(0.2, description="lower clip range of the token ratio")
    clip_high: PositiveFloat = Field(0.28, description="upper clip range of the token ratio")
    importance_cap: PositiveFloat = Field(5.0, description="cap of the proximal/behaviour importance weight")
    entropy_bonus: Annotated[float, Field(ge=0)] = Field(0.0, description="coefficient of the mean token entropy")
    minibatches: PositiveInt = Field(
        1, description="optimizer updates per step; more than one recomputes proximal log-probs"
    )
    max_grad_norm: PositiveFloat = Field(1.0, description="gradient clipping by global norm")
    token_budget: PositiveInt = Field(8192, description="tokens of one micro-batch, padding included")
    threads: Annotated[int, Field(ge=0)] = Field(
        0, description="CPU threads of the trainer; 0 = half of the cores, at least one"
    )


class CheckpointSection(Section):
    """What survives a crash: `[checkpoint]`."""

    every: PositiveInt = Field(
        1, description="optimizer steps between checkpoints; steps since the last are redone after a crash"
    )
    keep: PositiveInt = Field(2, description="newest checkpoints kept; the last of a run always is")


class EvalSection(Section):
    """Evaluation during and after training: `[eval]`."""

    every: Annotated[int, Field(ge=0)] = Field(0, description="optimizer steps between evaluations; 0 = none")
    episodes: PositiveInt = Field(100, description="held-out tasks per evaluation, one attempt each")
    split: str = Field("test", description="split the tasks come from")
    temperature: Annotated[float, Field(ge=0)] = Field(1.0, description="sampling temperature; 0 = greedy")


class SftSection(Section):
    """Warm start on expert episodes: `[sft]`."""

    episodes: PositiveInt = Field(200, description="expert episodes to imitate")
    epochs: PositiveInt = Field(1, description="passes over them")
    batch: PositiveInt = Field(16, description="episodes per optimizer step")
    lr: PositiveFloat = Field(1e-3, description="AdamW learning rate")
    noise: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0, description="share of turns played at random before the expert corrects them; those turns get no loss"
    )


class TrackSection(Section):
    """Where metrics go beside `metrics.jsonl`: `[track]`."""

    tensorboard: bool = Field(True, description="write TensorBoard events into the run folder")


class RunConfig(Section):
    """A whole run file."""

    model: Path = Field(strict=False, description="folder of a model in transformers form: config, weights, tokenizer")
    output: Path = Field(
        Path("runs/default"), strict=False, description="run folder: store, checkpoints, metrics, resolved config"
    )
    steps: PositiveInt = Field(100, description="optimizer steps")
    seed: int = Field(0, description="seed of every random choice of the run")
    env: tuple[EnvSection, ...] = Field(min_length=1, strict=False, description="environments to train on")
    rollout: RolloutSection = RolloutSection()
    trainer: TrainerSection = TrainerSection()
    checkpoint: CheckpointSection = CheckpointSection()
    eval: EvalSection = EvalSection()
    sft: SftSection = SftSection()
    track: TrackSection = TrackSection()

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.rollout.max_tokens >= self.rollout.max_context:
            raise ValueError(
                f"rollout.max_tokens = {self.rollout.max_tokens} must be smaller than "
                f"rollout.max_context = {self.rollout.max_context}: one turn has to fit beside its prompt"
            )
        return self
