"""Which tokens have their keys and values cached, where, and who may reuse them.

Everything here was computed under one policy version: `clear` is called when weights change.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

import numpy as np
import torch

from agentrl.policy.embedded._kv import KVPool
from agentrl.trajectory._types import Int32

BLOCK = 16
"""Tokens of a block of the prefix index; shorter shared prefixes are not worth a copy."""


@dataclass(eq=False, slots=True)
class Conversation:
    """A sequence of tokens with cached keys and values.

    Attributes:
        request_id: Trajectory it belongs to.
        tokens: Tokens known so far, a buffer of the context's size.
        known: How many of `tokens` are set.
        length: How many have their keys and values computed.
        slot: Row of the pool it occupies, or None.
        parked: Compact copy of its keys and values, or None.
        busy: A request is working on it.
        dropped: It must not be used any more.
        keys: Its entries in the prefix index.
    """

    request_id: str
    tokens: Int32
    known: int = 0
    length: int = 0
    slot: int | None = None
    parked: torch.Tensor | None = None
    busy: bool = False
    dropped: bool = False
    keys: list[int] = field(default_factory=list)


def common_prefix(first: Int32, second: Int32) -> int:
    """Return the number of equal leading tokens."""
    limit = min(len(first), len(second))
    different = np.flatnonzero(first[:limit] != second[:limit])
    return int(different[0]) if different.size else limit


def block_keys(tokens: Int32) -> list[int]:
    """Return a chained hash for each full block of tokens: equal keys mean equal prefixes, up to collisions."""
    keys: list[int] = []
    key = 0
    for start in range(0, len(tokens) - BLOCK + 1, BLOCK):
        key = hash((key, tokens[start : start + BLOCK].tobytes()))
        keys.append(key)
    return keys


class ConversationCache:
    """Cached conversations, the slots they sit in, and the least recently used order to give them up in.

    Args:
        pool: Where keys and values of slots live.
        parked_tokens: Most tokens kept outside the slots; the least recently used conversation goes first.
    """

    def __init__(self, pool: KVPool, parked_tokens: int) -> None:
        self._pool = pool
        self._parked_limit = parked_tokens
        self._by_request: dict[str, Conversation] = {}
        self._by_block: dict[int, Conversation] = {}
        self._occupant: list[Conversation | None] = [None] * pool.slots
        self._resting: OrderedDict[int, Conversation] = OrderedDict()  # in a slot, not busy; oldest first
        self._parked: OrderedDict[int, Conversation] = OrderedDict()  # outside the slots; oldest first
        self.parked_tokens = 0
        self.evictions = 0

    def of_request(self, request_id: str) -> Conversation | None:
        """Return the idle conversation of a request, if one is cached."""
        conversation = self._by_request.get(request_id)
        return None if conversation is None or conversation.busy else conversation

    def __len__(self) -> int:
        return len(self._resting) + len(self._parked)

    def find_shared(self, prompt: Int32, keys: list[int]) -> tuple[Conversation | None, int]:
        """Return the conversation that shares most leading blocks with `prompt`, and how many tokens they share."""
        for key in reversed(keys):
            conversation = self._by_block.get(key)
            if conversation is not None:
                shared = common_prefix(conversation.tokens[: conversation.known], prompt)
                if shared >= BLOCK:
                    return conversation, shared
        return None, 0

    def has_room(self) -> bool:
        """Return whether a slot is free or holds a conversation that can be parked."""
        return bool(self._resting) or None in self._occupant

    def admit(
        self, request_id: str, prompt: Int32, keys: list[int], source: Conversation | None, usable: int
    ) -> Conversation:
        """Seat a request in a slot with `usable` positions of `source` (or of nothing) already computed.

        `source` may be the request's own idle conversation, which is then continued, or another's, which is copied.
        Call `has_room` first.
        """
        own = self.of_request(request_id)
        if own is not None and own is not source:
            self.drop(own)
            own = None
        if own is not None:
            conversation = own
        else:
            conversation = Conversation(request_id, np.empty(self._pool.positions + 1, np.int32))
        if conversation.slot is not None:
            self._resting.pop(id(conversation))
        else:
            if own is None and source is not None:
                self._touch(source)
            self._seat(conversation, source, usable)
        conversation.tokens[: len(prompt)] = prompt
        conversation.known = len(prompt)
        conversation.length = usable
        conversation.busy = True
        self._by_request[request_id] = conversation
        self._index(conversation, keys)
        return conversation

    def rest(self, conversation: Conversation, *, keep: bool = True) -> None:
        """Note that the request on a conversation has ended; its keys and values stay until room is needed."""
        conversation.busy = False
        if conversation.slot is None:
            return
        if keep and not conversation.dropped and self._by_request.get(conversation.request_id) is conversation:
            self._resting[id(conversation)] = conversation
        else:
            self._forget(conversation)

    def drop(self, conversation: Conversation) -> None:
        """Give up a conversation; a busy one goes when its request ends."""
        if conversation.busy:
            conversation.dropped = True
            return
        self._forget(conversation)

    def release(self, request_id: str) -> None:
        """Give up the conversation of a trajectory that is over."""
        conversation = self._by_request.get(request_id)
        if conversation is not None:
            self.drop(conversation)

    def clear(self) -> None:
        """Give up everything: the weights have changed. No conversation may be busy."""
        self._by_request.clear()
        self._by_block.clear()
        self._resting.clear()
        self._parked.clear()
        self._occupant = [None] * self._pool.slots
        self.parked_tokens = 0

    def _seat(self, conversation: Conversation, source: Conversation | None, usable: int) -> None:
        """Find a slot and bring `usable` positions of `source` there."""
        # Held here, since making room may evict the very conversation that is copied.
        parked = source.parked if source is not None else None
        if source is conversation:
            self._unpark(conversation)
        if None in self._occupant:
            slot = self._occupant.index(None)
        else:
            # The oldest resting conversation makes room; the source itself only where no other rests.
            oldest = next((entry for entry in self._resting.values() if entry is not source), None)
            if oldest is None:
                oldest = next(iter(self._resting.values()))
            assert oldest.slot is not None
            slot = oldest.slot
            self._resting.pop(id(oldest))
            if oldest is source:
                # Its rows are already where they are needed: it moves out, the newcomer keeps the shared part.
                self._park(oldest)
                self._occupant[slot] = conversation
                conversation.slot = slot
                return
            self._park(oldest)
        self._occupant[slot] = conversation
        conversation.slot = slot
        if source is None or usable == 0:
            return
        if parked is not None:
            self._pool.insert(slot, parked, usable)
        elif source.slot is not None:
            self._pool.copy(source.slot, slot, usable)

    def _park(self, conversation: Conversation) -> None:
        """Copy a resting conversation out of its slot, evicting the least recently used beyond the limit."""
        assert conversation.slot is not None
        slot, conversation.slot = conversation.slot, None
        self._occupant[slot] = None
        if conversation.length > self._parked_limit:
            self.evictions += 1
            self._forget(conversation)
            return
        conversation.parked = self._pool.extract(slot, conversation.length)
        self._parked[id(conversation)] = conversation
        self.parked_tokens += conversation.length
        while self.parked_tokens > self._parked_limit:
            self.evictions += 1
            self._forget(next(iter(self._parked.values())))

    def _unpark(self, conversation: Conversation) -> None:
        if conversation.parked is not None:
            self.parked_tokens -= int(conversation.parked.shape[-2])
            conversation.parked = None
            self._parked.pop(id(conversation))

    def _forget(self, conversation: Conversation) -> None:
        conversation.dropped = True
        self._resting.pop(id(conversation), None)
        self._unpark(conversation)
        if conversation.slot is not None:
            self._occupant[conversation.slot] = None
            conversation.slot = None
        if self._by_request.get(conversation.request_id) is conversation:
            del self._by_request[conversation.request_id]
        for key in conversation.keys:
            if self._by_block.get(key) is conversation:
                del self._by_block[key]

    def _touch(self, conversation: Conversation) -> None:
        for order in (self._resting, self._parked):
            if id(conversation) in order:
                order.move_to_end(id(conversation))

    def _index(self, conversation: Conversation, keys: list[int]) -> None:
        for key in set(conversation.keys).difference(keys):
            if self._by_block.get(key) is conversation:
                del self._by_block[key]
        conversation.keys = keys
        for key in keys:
            self._by_block[key] = conversation
