"""Doubles for rollout tests, under virtual time: a sleep costs nothing, and a hang is an error at once."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from types import SimpleNamespace

import numpy as np
import pytest

from agentrl.env._session import Opening, Score, StepResult
from agentrl.errors import EnvError
from agentrl.messages import Message
from agentrl.policy import EngineStats, FinishReason, Generation, SamplingParams
from agentrl.rendering import ParsedAction
from agentrl.rollout import EnvironmentShare, EpisodeLimits, RolloutPlan, RolloutScheduler, stable_seed
from agentrl.tasks import Task
from agentrl.trajectory import StopReason, ToolOutcome

STOP, SAYS, ENDS = 1, 2, 3


class VirtualLoop(asyncio.SelectorEventLoop):
    """Jumps to the next timer instead of waiting for it; with no timer left and nothing ready, everybody waits."""

    def __init__(self):
        super().__init__()
        self.now = 1000.0
        select = self._selector.select

        def jump(timeout=None):
            events = select(0)
            if not events and timeout is None:
                raise RuntimeError("deadlock: everything waits and no timer is set")
            if not events:
                self.now += timeout
            return events

        self._selector.select = jump

    def time(self):
        return self.now


def run_virtually(coroutine):
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(coroutine)


class LetterRenderer:
    """A token per character. `rewrites=True` stands for a template that cannot be extended."""

    stop_token_ids = (STOP,)

    def __init__(self, rewrites=False):
        self.rewrites = rewrites

    def _render(self, messages):
        return [token for message in messages for token in (*map(ord, message.content), ENDS)]

    def start(self, messages, tools=()):
        return np.array([*self._render(messages), SAYS], np.int32)

    def extend(self, action, messages):
        if self.rewrites:
            return None
        closing = [] if len(action) and action[-1] == STOP else [STOP]
        return np.array([*closing, *self._render(messages), SAYS], np.int32)

    def parse(self, action):
        complete = bool(len(action)) and action[-1] == STOP
        text = self.decode(action[:-1] if complete else action)
        return ParsedAction(Message("assistant", text), text, complete)

    def demonstrate(self, message):
        return np.array([*map(ord, message.content), STOP], np.int32)

    def decode(self, tokens):
        return "".join(chr(token) for token in tokens)


class DiceEngine:
    """Samples letters by (seed, position); new weights interrupt at the next token. Writes down all it sampled."""

    max_context = 4096

    def __init__(self, version=0, token_seconds=0.001, jitter=0.0, seed=0, stop_chance=0.3, weights_matter=False):
        self.version = version
        self.token_seconds = token_seconds
        self.stop_chance = stop_chance
        self.weights_matter = weights_matter
        self.jitter = jitter
        self.rng = random.Random(seed)
        self.sampled = defaultdict(list)
        self.contexts = defaultdict(list)
        self.priorities = []
        self.released = []
        self.generation = 0
        self.running = 0
        self.fails = None

    async def generate(self, prompt_tokens, sampling, *, request_id, priority=0.0):
        if self.fails is not None and (error := self.fails(request_id)):
            raise error
        self.priorities.append(priority)
        self.contexts[request_id].append(np.array(prompt_tokens))
        epoch, tokens, versions = self.generation, [], []
        reason = FinishReason.LENGTH
        self.running += 1
        try:
            while len(tokens) < sampling.max_tokens:
                await asyncio.sleep(self.token_seconds + self.rng.random() * self.jitter)
                if epoch != self.generation:
                    reason = FinishReason.INTERRUPTED
                    break
                position = len(prompt_tokens) + len(tokens)
                draw = random.Random(stable_seed(sampling.seed, position, self.version if self.weights_matter else 0))
                token = STOP if draw.random() < self.stop_chance else draw.choice(b"abcd")
                tokens.append(token)
                versions.append(self.version)
                self.sampled[request_id].append((position, token, self.version))
                if token in sampling.stop_token_ids:
                    reason = FinishReason.STOP
                    break
        finally:
            self.running -= 1
        positions = np.arange(len(tokens)) + len(prompt_tokens)
        return Generation(
            np.array(tokens, np.int32),
            -positions.astype(np.float32),
            np.array(versions, np.int32),
            reason,
            positions.astype(np.float32),
        )

    async def update_weights(self, version, source=None):
        self.version = version
        self.generation += 1

    async def interrupt(self, request_ids=None):
        self.generation += 1

    async def release(self, request_id):
        self.released.append(request_id)

    async def score(self, tokens, start):
        return np.zeros(len(tokens) - start, np.float32)

    def stats(self):
        return EngineStats(self.version, 64)

    async def close(self):
        pass


class CountdownSession:
    def __init__(self, world):
        self.world = world
        self.turn = 0
        self.closed = False
        world.opened.append(self)

    async def reset(self, task):
        self.task = task
        self.random = random.Random(task.seed)
        await self.world.wait(self, "reset")
        return Opening((Message("user", f"go {task.id}"),), anchor="state 0")

    async def step(self, message):
        await self.world.wait(self, "step")
        self.turn += 1
        done = self.turn >= self.world.length(self.task)
        return StepResult(
            () if done else (Message("user", f"seen {self.turn}"),),
            done=done,
            rewards={"step": 0.25},
            tool_calls=(ToolOutcome("move", {}, "ok"),),
            valid="a" in message.content,
            anchor=f"state {self.turn}",
        )

    async def finish(self):
        await self.world.wait(self, "finish")
        return Score({"solved": 1.0}, self.world.final, {"success": True})

    async def demonstrate(self):
        await self.world.wait(self, "demonstrate")
        return Message("assistant", f"expert{self.turn % 3}")

    async def close(self):
        self.closed = True
        await self.world.wait(self, "close")


class CountdownWorld:
    """Episodes of one to `longest` turns by task. `hook(session, call)` may sleep or raise in any call."""

    replayable = True
    has_expert = True
    has_anchors = True

    def __init__(self, name="countdown", longest=4, size=None, hook=None, max_turns=None, final=1.0):
        self.name = name
        self.longest = longest
        self._size = size
        self.hook = hook
        self.max_turns = max_turns
        self.final = final
        self.opened = []

    @property
    def tasks(self):
        return self

    def splits(self):
        return ("train", "test")

    def size(self, split):
        return self._size

    def task(self, split, index):
        return Task(f"{split}-{index}", split, seed=index)

    def length(self, task):
        return 1 + task.seed % self.longest

    def session(self):
        return CountdownSession(self)

    async def wait(self, session, call):
        if self.hook is not None:
            await self.hook(session, call)


class MemoryStore:
    """What the scheduler needs of a store. It survives a `crash`, that is a new scheduler on the same store."""

    def __init__(self):
        self.groups = {}
        self.log = defaultdict(list)
        self.trajectories = {}
        self.added = asyncio.Event()

    async def open_group(self, group):
        await asyncio.sleep(0.0005)
        self.groups.setdefault(group.index, group)

    async def members(self, group_id):
        return {member for group, member in self.trajectories if group == group_id}

    async def open_groups(self):
        ordered = [self.groups[index] for index in sorted(self.groups)]
        return [group for group in ordered if len(await self.members(group.id)) < group.size]

    async def next_group_index(self):
        return max(self.groups, default=-1) + 1

    async def append_turn(self, record):
        await asyncio.sleep(0.0005)
        log = self.log[record.trajectory_id]
        assert record.index == len(log), "a turn was logged twice or left out"
        log.append(record)

    async def turns(self, trajectory_id):
        return list(self.log.get(trajectory_id, ()))

    async def add(self, trajectory):
        await asyncio.sleep(0.0005)
        assert (trajectory.group_id, trajectory.member) not in self.trajectories, "delivered twice"
        self.trajectories[trajectory.group_id, trajectory.member] = trajectory
        self.added.set()
        return True


class SteppingTrainer:
    """Takes complete groups strictly in index order, as many as a step wants, then publishes new weights."""

    def __init__(self, scheduler, engine, store, groups_per_step, staleness, step_seconds, steps, version, step=0):
        vars(self).update(locals())
        self.worst = 0
        self.lineage = [version]

    async def train(self):
        from agentrl.rollout import token_staleness

        for step in range(self.step, self.steps):
            batch = range(step * self.groups_per_step, (step + 1) * self.groups_per_step)
            while not all(self._complete(index) for index in batch):
                self.store.added.clear()
                await self.store.added.wait()
            for index in batch:
                for trajectory in self._of(index):
                    for turn in trajectory.turns:
                        ages = token_staleness(trajectory.action_span(turn).versions, self.lineage)
                        self.worst = max(self.worst, int(ages.max()))
            await asyncio.sleep(self.step_seconds)
            self.version += 1
            await self.engine.update_weights(self.version)
            self.lineage.append(self.version)
            self.scheduler.weights_published(self.version, step + 1)

    def _of(self, index):
        group = self.store.groups[index].id
        return [trajectory for (owner, _), trajectory in self.store.trajectories.items() if owner == group]

    def _complete(self, index):
        group = self.store.groups.get(index)
        return group is not None and len(self._of(index)) == group.size


def make_scheduler(engine, store, worlds, *, version=0, step=0, deliver=None, limits=None, renderer=None, **plan):
    settings = {
        "run_id": "run",
        "seed": 7,
        "groups_per_step": 2,
        "group_size": 3,
        "staleness": 1,
        "in_flight": 8,
        "total_groups": 4,
    }
    return RolloutScheduler(
        RolloutPlan(**{**settings, **plan}),
        [EnvironmentShare(world) for world in worlds],
        engine,
        renderer or LetterRenderer(),
        limits or EpisodeLimits(max_turns=6, max_tokens_per_turn=6, max_context=400),
        SamplingParams(max_tokens=1),
        store,
        deliver or store.add,
        version=version,
        step=step,
    )


def check_exactness(engine, trajectory):
    """What is recorded is what the engine was shown and sampled, token for token, with log-prob and version."""
    sampled = list(engine.sampled[trajectory.id])
    contexts = [tuple(context) for context in engine.contexts[trajectory.id]]
    for turn in trajectory.turns:
        segment = trajectory.segments[turn.segment]
        before = [token for span in segment.spans[: turn.action] for token in span.tokens]
        span = trajectory.action_span(turn)
        assert tuple(before) in contexts, "the engine never saw this context"
        for offset, token in enumerate(span.tokens):
            position = len(before) + offset
            assert (position, token, span.versions[offset]) == sampled.pop(0)
            assert span.logprobs[offset] == -position
            assert span.entropies[offset] == position
    return sampled


@pytest.fixture(scope="session")
def doubles():
    return SimpleNamespace(
        STOP=STOP,
        Engine=DiceEngine,
        Renderer=LetterRenderer,
        World=CountdownWorld,
        Store=MemoryStore,
        Trainer=SteppingTrainer,
        run=run_virtually,
        scheduler=make_scheduler,
        check_exactness=check_exactness,
        EnvError=EnvError,
        StopReason=StopReason,
    )
