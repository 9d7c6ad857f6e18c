"""A test double of a policy engine: it samples nothing, it answers from a script."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from agentrl.errors import PolicyError
from agentrl.policy import EngineStats, FinishReason, Generation, SamplingParams, WeightSource
from agentrl.testing._gate import Gate
from agentrl.trajectory._types import Float32, Int32

Script = Callable[[Int32, SamplingParams], Sequence[int]] | Iterable[Sequence[int]]


@dataclass(frozen=True, slots=True)
class ScriptedCall:
    """A call of `generate` as the engine saw it, for assertions."""

    request_id: str
    prompt: tuple[int, ...]
    sampling: SamplingParams
    priority: float
    version: int


class ScriptedEngine:
    """A `PolicyEngine` whose answers are given beforehand. A test double: no model, no randomness.

    An answer is what the policy would write to its stop token; where the answer has no stop token, the first of the
    request's is added. An interrupted request goes on with the same answer when it is called again with its tokens so
    far appended, as an engine would with unchanged weights.

    Args:
        script: A function from (prompt, sampling) to an answer, or answers used up one per call in order of arrival.
        logprob: Log-prob of (token, version); everything it scores uses it too.
        entropy: Entropy reported for each token, in nats; None = the engine cannot tell.
        version: Policy version at the start.
        slots: Requests that decode at the same time; the others wait by priority, then by arrival.
        max_context: Most tokens of a request.
        seconds_per_token: Delay before each token.

    Attributes:
        calls: Every call of `generate`, in order of arrival.
        updates: (version, source) of every `update_weights`.
        released: Request ids given to `release`.
        closed: Whether `close` was called.

    Example:
        >>> engine = ScriptedEngine(lambda prompt, sampling: [int(prompt[-1]) + 1])
        >>> engine.hold()            # requests stop at the next token boundary …
        >>> engine.resume()          # … and go on
        >>> engine.fail_next(PolicyError("out of memory"), after_tokens=2)
    """

    def __init__(
        self,
        script: Script,
        *,
        logprob: Callable[[int, int], float] = lambda token, version: -0.5,
        entropy: float | None = 0.7,
        version: int = 0,
        slots: int = 8,
        max_context: int = 4096,
        seconds_per_token: float = 0.0,
    ) -> None:
        self._answer = script if callable(script) else _in_order(script)
        self._logprob = logprob
        self._entropy = entropy
        self._version = version
        self._max_context = max_context
        self._gate = Gate(slots, seconds_per_token)
        self._failures: list[tuple[Exception, int]] = []
        self._unfinished: dict[str, tuple[list[int], list[int]]] = {}
        self._dead: PolicyError | None = None
        self._sampled = 0
        self._prefilled = 0
        self.calls: list[ScriptedCall] = []
        self.updates: list[tuple[int, WeightSource]] = []
        self.released: list[str] = []
        self.closed = False

    @property
    def version(self) -> int:
        """The policy version that samples now."""
        return self._version

    @property
    def max_context(self) -> int:
        """Most tokens a request can have, prompt and sampled together."""
        return self._max_context

    async def generate(
        self, prompt_tokens: Sequence[int] | Int32, sampling: SamplingParams, *, request_id: str, priority: float = 0.0
    ) -> Generation:
        """Return the next answer of the script, token by token."""
        prompt = [int(token) for token in prompt_tokens]
        self.calls.append(ScriptedCall(request_id, tuple(prompt), sampling, priority, self._version))
        self._check(prompt)
        failure = self._failures.pop(0) if self._failures else None
        answer = self._planned(prompt, sampling, request_id)
        limit = min(sampling.max_tokens, self._max_context - len(prompt))
        tokens: list[int] = []
        versions: list[int] = []
        reason = FinishReason.LENGTH
        async with self._gate.enter(request_id, priority) as request:
            self._prefilled += len(prompt)
            while len(tokens) < min(limit, len(answer)):
                if failure is not None and len(tokens) >= failure[1]:
                    break
                if not await self._gate.next_token(request):
                    reason = FinishReason.INTERRUPTED
                    break
                tokens.append(answer[len(tokens)])
                versions.append(self._version)
                self._sampled += 1
                if tokens[-1] in sampling.stop_token_ids:
                    reason = FinishReason.STOP
                    break
        if failure is not None:
            raise failure[0]
        self._check(prompt)
        if reason is FinishReason.INTERRUPTED:
            self._unfinished[request_id] = (prompt + tokens, answer[len(tokens) :])
        return self._generation(tokens, versions, reason)

    async def score(self, tokens: Sequence[int] | Int32, start: int) -> Float32:
        """Return the scripted log-probs of tokens[start:] under the present version."""
        self._check([int(token) for token in tokens])
        return np.array([self._logprob(int(token), self._version) for token in tokens[start:]], np.float32)

    async def update_weights(self, version: int, source: WeightSource) -> None:
        """Take a new version; live requests return INTERRUPTED."""
        if version <= self._version:
            raise PolicyError(f"version {version} is not newer than {self._version}")
        self.updates.append((version, source))
        self._version = version
        self._gate.interrupt(None)

    async def interrupt(self, request_ids: Sequence[str] | None = None) -> None:
        """Make the named requests, or all, return INTERRUPTED at the next token boundary."""
        self._gate.interrupt(request_ids)

    async def release(self, request_id: str) -> None:
        """Note that a trajectory is over."""
        self.released.append(request_id)
        self._unfinished.pop(request_id, None)

    def stats(self) -> EngineStats:
        """Return a snapshot of counters and queues."""
        return EngineStats(
            version=self._version,
            slots=self._gate.slots,
            running=self._gate.running,
            waiting=self._gate.waiting,
            sampled_tokens=self._sampled,
            prefilled_tokens=self._prefilled,
        )

    async def close(self) -> None:
        """Stop; live requests raise PolicyError."""
        self.closed = True
        self.die(PolicyError("the scripted engine was closed"))

    def hold(self) -> None:
        """Stop all requests at their next token boundary until `resume`; an interruption still reaches them."""
        self._gate.hold()

    def resume(self) -> None:
        """Let held requests go on."""
        self._gate.resume()

    def fail_next(self, error: Exception, after_tokens: int = 0) -> None:
        """Make the next call to arrive raise an error after so many tokens, or at its end; further calls queue up."""
        self._failures.append((error, after_tokens))

    def die(self, error: PolicyError) -> None:
        """Make every live and future request raise an error, as when an engine's process is gone."""
        self._dead = error
        self._gate.interrupt(None)

    def _check(self, tokens: Sequence[int]) -> None:
        if self._dead is not None:
            raise self._dead
        if not tokens:
            raise PolicyError("the prompt is empty")
        if len(tokens) > self._max_context:
            raise PolicyError(f"{len(tokens)} tokens do not fit into a context of {self._max_context}")

    def _planned(self, prompt: list[int], sampling: SamplingParams, request_id: str) -> list[int]:
        seen, rest = self._unfinished.pop(request_id, ([], []))
        if rest and seen == prompt:
            return rest
        answer = [int(token) for token in self._answer(np.array(prompt, np.int32), sampling)]
        if sampling.stop_token_ids and not set(answer) & set(sampling.stop_token_ids):
            answer.append(sampling.stop_token_ids[0])
        return answer

    def _generation(self, tokens: list[int], versions: list[int], reason: FinishReason) -> Generation:
        pairs = zip(tokens, versions, strict=True)
        return Generation(
            tokens=np.array(tokens, np.int32),
            logprobs=np.array([self._logprob(token, version) for token, version in pairs], np.float32),
            versions=np.array(versions, np.int32),
            finish_reason=reason,
            entropies=None if self._entropy is None else np.full(len(tokens), self._entropy, np.float32),
        )


def _in_order(answers: Iterable[Sequence[int]]) -> Callable[[Int32, SamplingParams], Sequence[int]]:
    left = iter(answers)

    def answer(prompt: Int32, sampling: SamplingParams) -> Sequence[int]:
        try:
            return next(left)
        except StopIteration:
            raise PolicyError("the script of the engine has no answer left") from None

    return answer
