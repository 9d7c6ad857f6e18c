"""The rollout scheduler: keeps trajectories under way within the staleness bound. Event-driven, no polling."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable, Sequence

from agentrl.errors import AgentRLError
from agentrl.policy._base import PolicyEngine, SamplingParams
from agentrl.rendering._base import Renderer
from agentrl.rollout._admission import AdmittedWork, Member
from agentrl.rollout._attempts import ErrorStreak, run_attempts
from agentrl.rollout._decisions import AdmissionRule, Obstacle, obstacle
from agentrl.rollout._episode import run_episode
from agentrl.rollout._identity import EpisodeIdentity, stable_seed
from agentrl.rollout._limits import EpisodeLimits
from agentrl.rollout._order import EnvironmentShare, TaskOrder
from agentrl.rollout._plan import RolloutPlan
from agentrl.rollout._progress import EpisodeProgress, Phase
from agentrl.rollout._shield import finish_despite_cancellation
from agentrl.rollout._stats import BlockedClock, RolloutStats, RolloutTally, describe_episodes, waiting
from agentrl.store._base import TrajectoryStore
from agentrl.tasks import Task
from agentrl.trajectory import Trajectory

Deliver = Callable[[Trajectory], Awaitable[None]]
"""Takes a finished trajectory, errors included; returns once it is safe (stored, or acknowledged by the bus)."""


class RolloutScheduler:
    """Admits groups in order, plays their episodes and delivers the trajectories.

    All methods are called from the event loop that runs `run` (from a thread: `loop.call_soon_threadsafe`).

    Args:
        plan: What to keep going.
        shares: The environments to train on.
        engine: Samples the actions.
        renderer: Messages to tokens and back.
        limits: What an episode may use.
        sampling: Temperature, top-k and top-p, as for `run_episode`.
        store: Keeps admissions and the turn log. Finished trajectories go to `deliver`, not here.
        deliver: Takes finished trajectories; `store.add` where trainer and rollouts share a process.
        version: Policy version the engine starts with.
        step: Optimizer steps contained in those weights.
        groups_consumed: Groups trained on so far; None = step · groups_per_step.
    """

    def __init__(
        self,
        plan: RolloutPlan,
        shares: Sequence[EnvironmentShare],
        engine: PolicyEngine,
        renderer: Renderer,
        limits: EpisodeLimits,
        sampling: SamplingParams,
        store: TrajectoryStore,
        deliver: Deliver,
        *,
        version: int,
        step: int = 0,
        groups_consumed: int | None = None,
    ) -> None:
        self._plan = plan
        order = TaskOrder(shares, plan.seed)
        self._factories = {share.factory.name: share.factory for share in shares}
        patience = 2 * plan.group_size if plan.error_patience is None else plan.error_patience
        self._streaks = {name: ErrorStreak(name, patience) for name in self._factories}
        self._engine = engine
        self._renderer = renderer
        self._limits = limits
        self._sampling = sampling
        self._store = store
        self._deliver = deliver
        base_groups = step * plan.groups_per_step if groups_consumed is None else groups_consumed
        self._rule = AdmissionRule(plan.groups_per_step, plan.staleness, step, base_groups)
        self._version = version
        self._step = step
        self._work = AdmittedWork(plan, order, self._rule, store)
        self._tasks: set[asyncio.Task[None]] = set()
        self._live: dict[str, EpisodeProgress] = {}
        self._tally = RolloutTally()
        self._blocked = BlockedClock()
        self._changed = asyncio.Event()
        self._wanted = asyncio.Event()
        self._ended = asyncio.Event()
        self._started = self._paused = self._stopping = False

    async def run(self) -> None:
        """Admit and play until `total_groups` are delivered or `stop` is called; a scheduler runs once.

        Groups that an earlier process left unfinished come first, only their missing members; then those never
        admitted. What this raises has ended every episode before; nothing that was delivered is lost.

        Raises:
            EnvError, PolicyError: An environment or the engine failed too often in a row.
            StoreError: An admission or a turn could not be made durable.
            ConfigError: An unfinished group belongs to an environment that the run no longer has.
        """
        if self._started:
            raise AgentRLError("this scheduler has run already: make a new one, it takes up what the store holds")
        self._started = True
        try:
            async with asyncio.TaskGroup() as tasks:
                await self._work.take_up_unfinished(self._factories)
                admitting = tasks.create_task(self._keep_admitting())
                while not self._stopping:
                    self._changed.clear()
                    hindrance = self._obstacle()
                    self._blocked.note(hindrance)
                    if hindrance is Obstacle.EXHAUSTED:
                        break
                    if hindrance is None:
                        self._start(tasks.create_task(self._play(self._work.take())))
                    else:
                        await self._changed.wait()
                admitting.cancel()
        except BaseExceptionGroup as failures:
            # One failure ends the run; those that follow from it are in its cause.
            raise _first(failures) from failures
        finally:
            self._blocked.note(None)
            self._ended.set()

    def weights_published(self, version: int, step: int) -> None:
        """Note that the engine samples with new weights: more groups may start.

        Call it after the engine has them.

        Args:
            version: Their policy version.
            step: Optimizer steps they contain.
        """
        if version <= self._version or step < self._step:
            raise ValueError(
                f"weights go forward: version {version} of step {step} after version {self._version} of {self._step}"
            )
        self._version, self._step = version, step
        self._wake()

    def pause(self) -> None:
        """Start no further episode; those under way go on."""
        self._paused = True
        self._wake()

    def resume(self) -> None:
        """Start episodes again."""
        self._paused = False
        self._wake()

    async def stop(self, deadline: float = 30.0) -> None:
        """Cancel every episode and wait until `run` has ended. Unfinished members are played when the run is resumed.

        Args:
            deadline: Seconds the episodes may take to clean up and to deliver what had just finished.

        Raises:
            AgentRLError: They took longer; the message says who waits for whom.
        """
        self._stopping = True
        self._wake()
        for task in self._tasks:
            task.cancel()
        if not self._started:
            return
        try:
            async with asyncio.timeout(deadline):
                await self._ended.wait()
        except TimeoutError as error:
            raise AgentRLError(f"rollouts did not stop within {deadline:g} s\n{self.describe()}") from error

    def stats(self) -> RolloutStats:
        """Return a snapshot for the live panel and the metrics."""
        live, tally = self._live.values(), self._tally
        return RolloutStats(
            in_flight=len(self._tasks),
            waiting_on_engine=waiting(live, Phase.ENGINE),
            waiting_on_env=waiting(live, Phase.ENVIRONMENT),
            admitted=tally.admitted,
            finished=tally.finished,
            errors=tally.errors,
            retried=tally.retried,
            turns=tally.turns + sum(progress.turns for progress in live),
            sampled_tokens=tally.sampled_tokens + sum(progress.sampled_tokens for progress in live),
            interruptions=tally.interruptions + sum(progress.interruptions for progress in live),
            mean_episode_seconds=tally.mean_episode_seconds,
            blocked_by_staleness_seconds=self._blocked.total(Obstacle.STALENESS),
            groups_admitted=self._work.next_index,
            version=self._version,
            step=self._step,
        )

    def progress(self) -> tuple[int, ...]:
        """Return counts of which one changes whenever anything has moved; for the watchdog."""
        now = self.stats()
        return now.admitted, now.finished, now.turns, now.sampled_tokens, now.interruptions, now.version

    def describe(self) -> str:
        """Return who waits for whom, and since when."""
        lines = [f"rollouts at version {self._version} (step {self._step}), {self._tally.finished} delivered"]
        seconds = self._blocked.present()
        if self._blocked.obstacle is Obstacle.STALENESS:
            group = self._work.upcoming()
            needed = None if group is None else self._rule.step_needed(group)
            lines.append(
                f"new episodes wait for the trainer for {seconds:.1f} s: group {group} may start with the weights of "
                f"step {needed} (staleness {self._plan.staleness})"
            )
        elif self._blocked.obstacle is not None:
            lines.append(f"no new episodes for {seconds:.1f} s: {self._blocked.obstacle}")
        return "\n".join([*lines, *describe_episodes(self._live)])

    def _obstacle(self) -> Obstacle | None:
        hindrance = obstacle(
            self._rule,
            next_group=self._work.upcoming(),
            published_step=self._step,
            live=len(self._tasks),
            in_flight=self._plan.in_flight,
            paused=self._paused,
        )
        return Obstacle.OPENING if hindrance is None and not len(self._work) else hindrance

    def _start(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._retire)
        self._wanted.set()

    def _wake(self) -> None:
        self._changed.set()
        self._wanted.set()

    async def _keep_admitting(self) -> None:
        """Admit groups as places become free, ahead of need where the staleness rule allows."""
        while not self._stopping:
            self._wanted.clear()
            free = 0 if self._paused else self._plan.in_flight - len(self._tasks)
            if await self._work.admit(published_step=self._step, version=self._version, free=free):
                self._wake()
            else:
                await self._wanted.wait()

    async def _play(self, work: Member) -> None:
        group = work.group
        task = self._factories[group.env].tasks.task(group.split, group.task_index)
        identity = EpisodeIdentity(
            group.id, group.index, work.member, stable_seed(self._plan.seed, group.index, work.member)
        )
        if work.resumed:
            identity = await self._unused(identity)
        self._tally.admitted += 1
        trajectory = await run_attempts(
            identity,
            lambda each: self._attempt(each, group.env, task),
            retries=self._plan.retries,
            streak=self._streaks[group.env],
            failed=self._count_failure,
        )
        # What is finished survives a stop: only after the delivery does a cancellation take effect.
        await finish_despite_cancellation(self._hand_over(trajectory))

    async def _attempt(self, identity: EpisodeIdentity, env: str, task: Task) -> Trajectory:
        progress = self._live[identity.trajectory_id] = EpisodeProgress()
        try:
            return await run_episode(
                identity,
                self._factories[env],
                task,
                self._engine,
                self._renderer,
                self._limits,
                self._sampling,
                log_turn=self._store.append_turn,
                progress=progress,
            )
        finally:
            self._tally.retire(self._live.pop(identity.trajectory_id))

    async def _hand_over(self, trajectory: Trajectory) -> None:
        progress = self._live[trajectory.id] = EpisodeProgress()
        progress.enter(Phase.DELIVERY, "trajectory to be safe")
        try:
            await self._deliver(trajectory)
            self._tally.deliver(trajectory)
        finally:
            del self._live[trajectory.id]

    async def _unused(self, identity: EpisodeIdentity) -> EpisodeIdentity:
        """Return the first retry of an episode that the turn log knows nothing of.

        An attempt that a crash cut short has turns under its id. Had the new attempt the same id, its spans would be
        taken for those of the old one, which other weights sampled.
        """
        while await self._store.turns(identity.trajectory_id):
            identity = dataclasses.replace(identity, retry=identity.retry + 1)
        return identity

    def _count_failure(self, trajectory: Trajectory, again: bool) -> None:
        if again:
            self._tally.retried += 1

    def _retire(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._wake()


def _first(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the failure that came first."""
    error: BaseException = failures
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
