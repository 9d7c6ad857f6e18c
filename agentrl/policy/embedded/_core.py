"""The engine without its thread: admission, one decode step, interruption, weight swap. Single-threaded."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite

import numpy as np
import torch

from agentrl.errors import PolicyError
from agentrl.policy._base import FinishReason, Generation
from agentrl.policy.embedded._batch import BatchPlanner
from agentrl.policy.embedded._conversations import BLOCK, Conversation, ConversationCache, common_prefix
from agentrl.policy.embedded._live import LiveRequests
from agentrl.policy.embedded._queue import Outbox, Request, WaitingQueue
from agentrl.policy.embedded._runner import Runner
from agentrl.policy.embedded._sampling import sample
from agentrl.policy.embedded._weights import WeightTable


@dataclass(slots=True)
class Counters:
    """Totals since the start; seconds of wall time."""

    steps: int = 0
    sampled_tokens: int = 0
    prefilled_tokens: int = 0
    cached_tokens: int = 0
    busy_seconds: float = 0.0
    idle_seconds: float = 0.0
    weight_update_seconds: float = 0.0


class EngineCore:
    """Continuous batching over the slots of a runner.

    Args:
        runner: The model's forward pass.
        weights: The model's parameters.
        version: Policy version of the weights.
        parked_tokens: Most tokens cached outside the slots.
        prefill_tokens: Most prompt tokens computed beside one decode step.
    """

    def __init__(
        self, runner: Runner, weights: WeightTable, *, version: int, parked_tokens: int, prefill_tokens: int
    ) -> None:
        self.version = version
        self.counters = Counters()
        self.outbox = Outbox()
        self.waiting = WaitingQueue()
        self.cache = ConversationCache(runner.pool, parked_tokens)
        self.live = LiveRequests(runner.pool.slots, runner.device)
        self._runner = runner
        self._weights = weights
        self._prefill_tokens = prefill_tokens
        # About 25 microseconds of another attention call against the time to read one more key position.
        self._planner = BatchPlanner(runner.pool.positions, runner.device, runner.dtype, split_cost=512)
        self._poisoned = False

    def admit(self) -> None:
        """Seat waiting requests while there are slots, in order of priority.

        A request that shares a long prefix with one that is being prefilled waits for it: a copy is cheaper.
        """
        if not len(self.waiting) or not self.cache.has_room():
            return
        put_back: list[Request] = []
        for request in self.waiting.drain():
            if request.cancelled:
                continue
            if not self.cache.has_room():
                put_back.append(request)
                break
            source, usable, planned = self._reusable(request)
            if planned - usable >= 2 * BLOCK:
                put_back.append(request)
                continue
            request.conversation = self.cache.admit(
                request.request_id, request.prompt, request.block_keys, source, usable
            )
            request.cached = usable
            self.counters.cached_tokens += usable
            self.live.add(request)
        for request in put_back:
            self.waiting.push(request)

    def step(self) -> None:
        """Run one forward pass and sample a token for every request whose prompt is computed."""
        work = self.live.work(self._prefill_tokens)
        batch = self._planner.plan(work.slots, work.tokens, work.lengths, work.chunks)
        logits_BV = self._runner.forward(batch)
        self.counters.steps += 1
        self.counters.prefilled_tokens += sum(len(chunk.tokens) for chunk in work.chunks)
        if not work.requests:
            self.live.advance(work, np.zeros(0, np.int64))
            return
        rows, uniform_B = self.live.sampling_of(work)
        tokens_B, logprobs_B, entropies_B = sample(logits_BV, rows, uniform_B)
        numbers = torch.stack([logprobs_B, entropies_B]).cpu().numpy()
        tokens = tokens_B.cpu().numpy()
        self.live.advance(work, tokens)
        self.counters.sampled_tokens += len(tokens)
        sampled = list(zip(work.requests, tokens.tolist(), *numbers.tolist(), strict=True))
        if not np.isfinite(numbers[0]).all():
            self._fail([request for request, _, logprob, _ in sampled if not isfinite(logprob)])
            sampled = [row for row in sampled if isfinite(row[2])]
        self._record(sampled)

    def drop_cancelled(self) -> None:
        """Free the slots of requests whose callers have gone away; what they computed stays cached."""
        self.waiting.discard_cancelled()
        self._leave([request for request in self.live.all() if request.cancelled])

    def interrupt(self, request_ids: set[str] | None) -> None:
        """Send the named requests, or all, back to their callers with the tokens they have."""
        for request in self.waiting.take(request_ids):
            self._answer(request, FinishReason.INTERRUPTED)
        going = [request for request in self.live.all() if request_ids is None or request.request_id in request_ids]
        self._leave(going)
        for request in going:
            self._answer(request, FinishReason.INTERRUPTED)

    def update(self, version: int, tensors: Mapping[str, torch.Tensor]) -> None:
        """Swap weights. Live requests that have sampled go back to their callers, the others start again.

        Raises:
            PolicyError: The version is not newer, or the tensors are not this model's; nothing has changed then.
        """
        if version <= self.version:
            raise PolicyError(
                f"weights of version {version} do not follow version {self.version}: versions must increase"
            )
        self._weights.check(tensors)
        started = time.perf_counter()
        going = self.live.all()
        self._leave(going)
        for request in going:
            if request.tokens:
                self._answer(request, FinishReason.INTERRUPTED)
            elif not request.cancelled:
                request.conversation, request.cached = None, 0
                self.waiting.push(request)
        self.outbox.flush()
        self.cache.clear()
        if self._poisoned:
            self._runner.pool.clear()
            self._poisoned = False
        self._weights.copy(tensors)
        self._runner.refresh()
        self.version = version
        self.counters.weight_update_seconds += time.perf_counter() - started

    def _reusable(self, request: Request) -> tuple[Conversation | None, int, int]:
        """Return the best conversation to continue from, how much of it is computed, and how much will be.

        At least one token of the prompt is always computed anew: its logits are needed.
        """
        most = len(request.prompt) - 1
        own = self.cache.of_request(request.request_id)
        usable = 0 if own is None else min(common_prefix(own.tokens[: own.length], request.prompt), most)
        if most - usable < 2 * BLOCK:
            return own, usable, usable
        other, shared = self.cache.find_shared(request.prompt, request.block_keys)
        if other is None or other is own:
            return own, usable, usable
        planned = min(shared, most)
        computed = min(shared, other.length, most)
        if computed >= usable + BLOCK:
            return other, computed, planned if other.busy else computed
        return own, usable, planned if other.busy else usable

    def _record(self, sampled: list[tuple[Request, int, float, float]]) -> None:
        """Append what was sampled, token, log-prob and entropy; requests that are complete leave."""
        done: list[tuple[Request, FinishReason]] = []
        for request, token, logprob, entropy in sampled:
            request.tokens.append(token)
            request.logprobs.append(logprob)
            request.entropies.append(entropy)
            if token in request.stop:
                done.append((request, FinishReason.STOP))
            elif len(request.tokens) >= request.limit:
                done.append((request, FinishReason.LENGTH))
        if done:
            self._leave([request for request, _ in done])
            for request, reason in done:
                self._answer(request, reason)

    def _leave(self, requests: list[Request]) -> None:
        """Take requests out of their slots; their conversations rest there with all their tokens known."""
        self.live.remove(requests)
        for request in requests:
            conversation = request.conversation
            assert conversation is not None
            known = len(request.prompt) + len(request.tokens)
            conversation.tokens[len(request.prompt) : known] = request.tokens
            conversation.known = known
            self.cache.rest(conversation)

    def _answer(self, request: Request, reason: FinishReason) -> None:
        count = len(request.tokens)
        generation = Generation(
            tokens=np.array(request.tokens, np.int32),
            logprobs=np.array(request.logprobs, np.float32),
            versions=np.full(count, self.version, np.int32),
            finish_reason=reason,
            entropies=np.array(request.entropies, np.float32),
            cached_tokens=request.cached,
        )
        self.outbox.put(request.reply, generation)

    def _fail(self, requests: list[Request]) -> None:
        """Fail requests whose distribution is not finite, without keeping what they computed."""
        self._poisoned = True
        self._leave(requests)
        for request in requests:
            self.cache.release(request.request_id)
            message = (
                f"request {request.request_id}: the model's logits are not finite under version {self.version}; "
                "the weights have diverged, load a sound checkpoint"
            )
            self.outbox.put(request.reply, PolicyError(message))
