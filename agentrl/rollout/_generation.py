"""One turn of generation: what the engine samples between two weight versions is joined, token by token.

Array legend: K = sampled tokens of the turn.
"""

from __future__ import annotations

import asyncio
import dataclasses
from dataclasses import dataclass

import numpy as np

from agentrl.errors import PolicyError
from agentrl.policy._base import FinishReason, Generation, PolicyEngine, SamplingParams
from agentrl.trajectory._types import Int32


@dataclass(frozen=True, slots=True)
class TurnGeneration:
    """A whole turn.

    Attributes:
        generation: Tokens, log-probs, versions and entropies of the turn [K]; finish_reason is STOP or LENGTH.
        interruptions: How often the engine returned before the turn was over.
    """

    generation: Generation
    interruptions: int


async def generate_turn(
    engine: PolicyEngine, context_tokens: Int32, sampling: SamplingParams, request_id: str, priority: float
) -> TurnGeneration:
    """Sample one turn, going on after every interruption with the tokens so far.

    Args:
        engine: The policy engine.
        context_tokens: The whole context of the segment.
        sampling: How to sample; `max_tokens` is over the whole turn, interruptions included.
        request_id: Stable over the turns of a trajectory.
        priority: Smaller decodes first.

    Raises:
        PolicyError: The engine failed, or its answer does not hold one log-prob and version for each token.
    """
    parts: list[Generation] = []
    context = context_tokens
    left = sampling.max_tokens
    interruptions = 0
    while True:
        part = await engine.generate(
            context, dataclasses.replace(sampling, max_tokens=left), request_id=request_id, priority=priority
        )
        _check(part, left, request_id)
        parts.append(part)
        left -= len(part.tokens)
        reason = part.finish_reason
        if reason is FinishReason.INTERRUPTED:
            interruptions += 1
            if len(part.tokens) and int(part.tokens[-1]) in sampling.stop_token_ids:
                reason = FinishReason.STOP
            elif left == 0:
                reason = FinishReason.LENGTH
        if reason is not FinishReason.INTERRUPTED:
            return TurnGeneration(_join(parts, reason), interruptions)
        if len(part.tokens):
            context = np.concatenate([context, part.tokens])
        else:
            # An engine that interrupts without a token must not keep the loop from noticing a deadline.
            await asyncio.sleep(0)


def _join(parts: list[Generation], reason: FinishReason) -> Generation:
    entropies = [part.entropies for part in parts if len(part.tokens)]
    known = [array for array in entropies if array is not None]
    return Generation(
        tokens=np.concatenate([part.tokens for part in parts]).astype(np.int32),
        logprobs=np.concatenate([part.logprobs for part in parts]).astype(np.float32),
        versions=np.concatenate([part.versions for part in parts]).astype(np.int32),
        finish_reason=reason,
        # Entropies of half a turn would be taken for those of the whole.
        entropies=np.concatenate(known).astype(np.float32) if known and len(known) == len(entropies) else None,
        cached_tokens=parts[0].cached_tokens,
    )


def _check(part: Generation, left: int, request_id: str) -> None:
    count = part.tokens.shape
    arrays = {"logprobs": part.logprobs, "versions": part.versions, "entropies": part.entropies}
    wrong = {name: array.shape for name, array in arrays.items() if array is not None and array.shape != count}
    if wrong:
        raise PolicyError(f"the engine answered request {request_id} with {count} tokens but {wrong}")
    if len(part.tokens) > left:
        raise PolicyError(
            f"the engine sampled {len(part.tokens)} tokens for request {request_id}, {left} were asked for"
        )
