"""Training: rollouts and optimizer steps side by side, until the run file's last step."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from agentrl.bus import InProcessBus
from agentrl.config import RunConfig, save_resolved
from agentrl.metrics import MetricsWriter
from agentrl.policy.embedded import EmbeddedEngine
from agentrl.rollout import RolloutScheduler, Watchdog
from agentrl.store import CheckpointRecord, SqliteStore
from agentrl_trainers.learner import Learner, load_checkpoint, prune_checkpoints, save_checkpoint
from agentrl_trainers.run._batch import Batch, next_batch
from agentrl_trainers.run._credit import RunCredit, value_heads
from agentrl_trainers.run._evaluation import Evaluations
from agentrl_trainers.run._folder import RunFolder, claim_folder
from agentrl_trainers.run._ingest import ingest
from agentrl_trainers.run._parts import check_model, make_scheduler, open_environments, start_engine
from agentrl_trainers.run._result import Observer, TrainingResult
from agentrl_trainers.run._step import StepFigures, train_on

Result = TypeVar("Result")

STALL_SECONDS = 45.0
"""Without progress for so long, a run says who waits for whom; noticed late by a quarter, that is within a minute."""


async def train(
    config: RunConfig,
    *,
    resume: bool = False,
    observer: Observer,
    stop: asyncio.Event | None = None,
    patience: float = STALL_SECONDS,
) -> TrainingResult:
    """Train until the last step of the run file, or until `stop` is set.

    Rollouts go on while the trainer steps. Each step ends with, in this order: the files of a checkpoint where one is
    due; the line of metrics; the commit of the checkpoint, which consumes the step's trajectories in the same
    transaction; the new version on record; its weights in the engine. So a process killed at any moment goes on by
    `resume`, trains on nothing twice and forgets nothing.

    Args:
        config: The run file.
        resume: Go on with the run in `config.output`.
        observer: Is told of every step.
        stop: Ends the run between two steps, with a checkpoint; what is finished is kept.
        patience: Seconds without any progress after which the observer is told who waits for whom.

    Raises:
        ConfigError: The run file does not fit the environments, the model or the run folder.
        StoreError: The disk is full or the store is in use.
        EnvError, PolicyError: The environments or the engine failed too often in a row.
    """
    began = time.monotonic()
    shares = open_environments(config)
    check_model(config, shares)
    folder = claim_folder(config, resume=resume)
    async with AsyncExitStack() as stack:
        store = SqliteStore.open(folder.store)
        stack.push_async_callback(store.close)
        trainer = stack.enter_context(ThreadPoolExecutor(1, thread_name_prefix="trainer"))
        learner, credit, version = await _restore(config, folder, store)
        # Only now: a run that cannot go on with these settings keeps those it has.
        save_resolved(config, folder.path)
        engine = start_engine(config, _newest_model(config, folder, learner.step), version)
        stack.push_async_callback(engine.close)
        bus = InProcessBus()
        stack.push_async_callback(bus.close)
        scheduler = make_scheduler(config, shares, engine, store, bus, version=version, step=learner.step)
        metrics = stack.enter_context(MetricsWriter(folder.path, config.track.tensorboard, start_step=learner.step + 1))
        await stack.enter_async_context(
            Watchdog(scheduler.describe, scheduler.progress, patience=patience, report=observer.message)
        )
        run = _Run(
            config, folder, store, learner, credit, engine, scheduler, trainer, asyncio.Event(), version, learner.step
        )
        evaluations = Evaluations(config, folder.path, shares, engine, observer)
        await run.go(bus, metrics, evaluations, observer, stop or asyncio.Event())
    finished = learner.step >= config.steps
    return TrainingResult(
        folder.path, learner.step, finished, _newest_model(config, folder, learner.step), time.monotonic() - began
    )


async def _restore(config: RunConfig, folder: RunFolder, store: SqliteStore) -> tuple[Learner, RunCredit, int]:
    """Return learner and credit at the last committed checkpoint, and the version its weights are published under.

    A version never names two sets of weights. Where weights newer than the checkpoint were published before a crash,
    the checkpoint's are published again under a number of their own, beyond all of those. Where the checkpoint's were
    the last, they keep their number: tokens sampled under it are as fresh as before.
    """
    learner = Learner(
        config.model,
        config.trainer,
        seed=config.seed,
        staleness=config.rollout.staleness,
        temperature=config.rollout.temperature,
        value_heads=value_heads(config.trainer),
        total_steps=config.steps,
    )
    credit = RunCredit(learner, config.trainer)
    checkpoint = await store.last_checkpoint()
    if checkpoint is not None:
        credit.restore(load_checkpoint(folder.path / checkpoint.path, learner).extra)
    await store.recover()
    published = await store.last_version()
    version = 0 if checkpoint is None else checkpoint.version
    # Without a checkpoint, version 0 is the run's model: again the same weights.
    if published is not None and published > version:
        version = published + 1
    if published != version:
        await store.record_version(version, learner.step)
    learner.version = version
    return learner, credit, version


def _newest_model(config: RunConfig, folder: RunFolder, step: int) -> Path:
    """Return the newest saved weights in transformers form."""
    saved = folder.checkpoint(step) / "model"
    return saved if saved.exists() else config.model


@dataclass(slots=True)
class _Run:
    config: RunConfig
    folder: RunFolder
    store: SqliteStore
    learner: Learner
    credit: RunCredit
    engine: EmbeddedEngine
    scheduler: RolloutScheduler
    trainer: ThreadPoolExecutor
    arrived: asyncio.Event
    version: int
    committed_step: int

    async def go(
        self,
        bus: InProcessBus,
        metrics: MetricsWriter,
        evaluations: Evaluations,
        observer: Observer,
        stop: asyncio.Event,
    ) -> None:
        """Run rollouts, ingestion and steps side by side; the first failure ends all of them and is raised."""
        try:
            async with asyncio.TaskGroup() as tasks:
                ingestion = tasks.create_task(ingest(bus, self.store, self.arrived), name="ingest")
                rollouts = tasks.create_task(self.scheduler.run(), name="rollouts")
                async for step in self._steps(metrics, observer, stop):
                    evaluations.start_if_due(step, tasks)
                await self.scheduler.stop()
                await rollouts
                if self.learner.step < self.config.steps:
                    evaluations.cancel()
                else:
                    await evaluations.finish()
                ingestion.cancel()
        except BaseExceptionGroup as failures:
            # One failure ends the run; those that follow from it are in its cause.
            raise failures.exceptions[0] from failures

    async def _steps(self, metrics: MetricsWriter, observer: Observer, stop: asyncio.Event) -> AsyncIterator[int]:
        """Take the optimizer steps of the run, and yield the number of each once its weights are published."""
        clock = time.monotonic
        then, sampled, publish_seconds = clock(), 0, 0.0
        while self.learner.step < self.config.steps:
            batch = await self._next_batch(stop)
            if batch is None:
                await self._checkpoint_before_stop()
                return
            report = await self._on_trainer(partial(train_on, self.learner, self.credit, batch.trainable))
            checkpoint = await self._save() if self._checkpoint_due() else None
            now, engine = clock(), self.engine.stats()
            figures = StepFigures(
                batch=batch,
                report=report,
                rollouts=self.scheduler.stats(),
                engine=engine,
                version=self.version + 1,
                sampled_rate=(engine.sampled_tokens - sampled) / max(now - then, 1e-9),
                seconds=now - then,
                publish_seconds=publish_seconds,
                checkpoint=None if checkpoint is None else checkpoint.name,
            )
            then, sampled = now, engine.sampled_tokens
            # Before the commit: resuming drops the line of a step that is done again, and could not restore a lost one.
            metrics.write(self.learner.step, figures.metrics())
            if checkpoint is not None:
                await self._commit(checkpoint, self.version + 1)
            await self._publish()
            publish_seconds = clock() - now
            observer.update(figures.snapshot())
            yield self.learner.step

    async def _next_batch(self, stop: asyncio.Event) -> Batch | None:
        """Wait for the next step's groups, or for `stop`: None then."""
        if stop.is_set():
            return None
        claiming = asyncio.create_task(
            next_batch(self.store, self.learner.step + 1, self.config.rollout.groups_per_step, self.arrived)
        )
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({claiming, stopping}, return_when=asyncio.FIRST_COMPLETED)
            return claiming.result() if claiming.done() else None
        finally:
            claiming.cancel()
            stopping.cancel()

    def _checkpoint_due(self) -> bool:
        step = self.learner.step
        return step % self.config.checkpoint.every == 0 or step >= self.config.steps

    async def _checkpoint_before_stop(self) -> None:
        """Keep the steps since the last checkpoint; their weights have been published already."""
        if self.learner.step > self.committed_step:
            await self._commit(await self._save(), self.version)

    async def _save(self) -> Path:
        """Write weights and state to a folder that counts for nothing before its commit."""
        path = self.folder.checkpoint(self.learner.step)
        await self._on_trainer(lambda: save_checkpoint(path, self.learner, extra=self.credit.state()))
        return path

    async def _commit(self, path: Path, version: int) -> None:
        """Make a saved checkpoint the run's newest, and consume what it was trained on, in one transaction."""
        record = CheckpointRecord(self.learner.step, version, str(path.relative_to(self.folder.path)))
        await self.store.commit_checkpoint(record)
        self.committed_step = self.learner.step
        keep = self.config.checkpoint.keep
        # Protected: a killed process may have left younger ones that were never committed.
        await self._on_trainer(lambda: prune_checkpoints(self.folder.checkpoints, keep, protect=[path]))

    async def _publish(self) -> None:
        """Put the new weights on record, then into the engine; rollouts go on under the new version."""
        self.version += 1
        await self.store.record_version(self.version, self.learner.step)
        await self.engine.update_weights(self.version, await self._on_trainer(self.learner.weights))
        self.learner.version = self.version
        self.scheduler.weights_published(self.version, self.learner.step)

    async def _on_trainer(self, work: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self.trainer, work)
