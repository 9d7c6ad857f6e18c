"""Requests that hold a slot, and their sampling state as arrays over slots."""

from __future__ import annotations

from bisect import insort
from dataclasses import dataclass

import numpy as np
import torch

from agentrl.policy.embedded._batch import Chunk, Int64
from agentrl.policy.embedded._queue import Request
from agentrl.policy.embedded._sampling import RowSampling, UInt64, row_sampling, uniforms


@dataclass(frozen=True, slots=True)
class StepWork:
    """What the next step computes.

    Attributes:
        slots, tokens, lengths: Of the decoding requests, by slot ascending.
        chunks: Prompt parts.
        requests: Those that sample a token in this step: the decoding ones, then those whose prompt ends.
        request_slots: Their slots.
    """

    slots: Int64
    tokens: Int64
    lengths: Int64
    chunks: list[Chunk]
    requests: list[Request]
    request_slots: Int64


class LiveRequests:
    """Requests that hold a slot.

    A request first prefills, in the order of admission; when one token of its prompt is left it decodes: feeding that
    token and feeding each sampled one are the same act.

    Args:
        slots: Number of slots.
        device: Where sampling parameters are wanted.
    """

    def __init__(self, slots: int, device: torch.device) -> None:
        self._device = device
        self._prefilling: list[Request] = []
        self._decoding: list[Request] = []
        self._length: Int64 = np.zeros(slots, np.int64)
        self._token: Int64 = np.zeros(slots, np.int64)
        self._temperature = np.ones(slots, np.float32)
        self._top_p = np.ones(slots, np.float32)
        self._top_k: Int64 = np.zeros(slots, np.int64)
        self._key: UInt64 = np.zeros(slots, np.uint64)
        self._decoding_slots: Int64 | None = None
        self._row_sampling: RowSampling | None = None

    def __len__(self) -> int:
        return len(self._prefilling) + len(self._decoding)

    def all(self) -> list[Request]:
        """Return every request, decoding ones first."""
        return self._decoding + self._prefilling

    def add(self, request: Request) -> None:
        """Take in a request whose conversation sits in a slot."""
        slot = _slot(request)
        sampling = request.sampling
        self._temperature[slot] = sampling.temperature
        self._top_k[slot] = sampling.top_k
        self._top_p[slot] = sampling.top_p
        self._key[slot] = request.seed_key
        assert request.conversation is not None
        self._length[slot] = request.conversation.length
        if request.conversation.length == len(request.prompt) - 1:
            self._start_decoding(request, int(request.prompt[-1]))
        else:
            self._prefilling.append(request)

    def remove(self, requests: list[Request]) -> None:
        """Let requests go; their conversations learn how much of them is computed."""
        if not requests:
            return
        leaving = {id(request) for request in requests}
        for request in requests:
            conversation = request.conversation
            assert conversation is not None
            conversation.length = int(self._length[_slot(request)])
        self._prefilling = [request for request in self._prefilling if id(request) not in leaving]
        self._decoding = [request for request in self._decoding if id(request) not in leaving]
        self._changed()

    def work(self, budget: int) -> StepWork:
        """Return the next step: every decoding request, and at most `budget` prompt tokens."""
        if self._decoding_slots is None:
            slots = np.fromiter((_slot(request) for request in self._decoding), np.int64, len(self._decoding))
            self._decoding_slots = slots
        slots = self._decoding_slots
        chunks: list[Chunk] = []
        requests = self._decoding
        ending: list[Request] = []
        room = budget
        for request in self._prefilling:
            slot = _slot(request)
            past = int(self._length[slot])
            # Cut at multiples of the budget, whatever else is in the step: the numbers of a request stay the same.
            part = request.prompt[past : (past // budget + 1) * budget]
            room -= len(part)
            if room < 0:
                break
            ends = past + len(part) == len(request.prompt)
            chunks.append(Chunk(slot, past, part, ends))
            if ends:
                ending.append(request)
        request_slots = slots
        if ending:
            requests = requests + ending
            request_slots = np.concatenate([slots, [_slot(request) for request in ending]])
        return StepWork(slots, self._token[slots], self._length[slots], chunks, requests, request_slots)

    def sampling_of(self, work: StepWork) -> tuple[RowSampling, torch.Tensor]:
        """Return the sampling parameters of the rows that sample, and their uniform numbers."""
        slots = work.request_slots
        rows = self._row_sampling
        if rows is None or work.chunks:
            rows = row_sampling(self._temperature[slots], self._top_k[slots], self._top_p[slots], self._device)
            if slots is self._decoding_slots:
                self._row_sampling = rows
        position = self._length[slots]
        position[: len(work.slots)] += 1
        for row in range(len(work.slots), len(slots)):
            position[row] = len(work.requests[row].prompt)
        return rows, torch.from_numpy(uniforms(self._key[slots], position)).to(self._device)

    def advance(self, work: StepWork, tokens: Int64) -> None:
        """Note that a step was computed and which tokens it sampled."""
        self._length[work.slots] += 1
        for chunk in work.chunks:
            self._length[chunk.slot] += len(chunk.tokens)
        self._token[work.request_slots] = tokens
        decoding = len(work.slots)
        if len(work.requests) > decoding:
            ended = {id(request) for request in work.requests[decoding:]}
            self._prefilling = [request for request in self._prefilling if id(request) not in ended]
            for request, token in zip(work.requests[decoding:], tokens[decoding:].tolist(), strict=True):
                self._start_decoding(request, token)
        for request in self._prefilling:
            # Others may share what is computed so far.
            assert request.conversation is not None
            request.conversation.length = int(self._length[_slot(request)])

    def _start_decoding(self, request: Request, token: int) -> None:
        self._token[_slot(request)] = token
        assert request.conversation is not None
        request.conversation.length = int(self._length[_slot(request)])
        # A new list: work already handed out keeps the one it was made with.
        self._decoding = list(self._decoding)
        insort(self._decoding, request, key=_slot)
        self._changed()

    def _changed(self) -> None:
        self._decoding_slots = None
        self._row_sampling = None


def _slot(request: Request) -> int:
    assert request.conversation is not None
    slot = request.conversation.slot
    assert slot is not None
    return slot
