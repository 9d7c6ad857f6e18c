"""Where keys and values live: one row of the pool per decode slot, and compact copies of parked conversations.

A decoding conversation owns a whole row, so attention reads contiguous memory without gathering. A conversation that
waits for its environment may be parked: copied out to a tensor of exactly its length, and back when it decodes again.
Axis legend: L = layers, S = slots, H = KV heads, T = positions, D = head dimension.
"""

from __future__ import annotations

import torch


class KVPool:
    """Keys and values of all slots.

    Attributes:
        keys_LSHTD: Keys.
        values_LSHTD: Values.
    """

    def __init__(
        self,
        *,
        layers: int,
        slots: int,
        heads: int,
        positions: int,
        head_dim: int,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        # Zeros, not empty: attention multiplies masked positions by 0, and 0 times garbage may be NaN. On CPU
        # untouched pages cost no memory.
        self._store = torch.zeros(layers, 2, slots, heads, positions, head_dim, device=device, dtype=dtype)
        self.keys_LSHTD = self._store[:, 0]
        self.values_LSHTD = self._store[:, 1]
        self.slots = slots
        self.positions = positions

    def extract(self, slot: int, length: int) -> torch.Tensor:
        """Return a compact copy of the first `length` positions of a slot."""
        return self._store[:, :, slot, :, :length].clone(memory_format=torch.contiguous_format)

    def insert(self, slot: int, parked: torch.Tensor, length: int) -> None:
        """Copy the first `length` positions of a parked conversation into a slot."""
        self._store[:, :, slot, :, :length].copy_(parked[:, :, :, :length])

    def copy(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` positions from one slot to another."""
        self._store[:, :, target, :, :length].copy_(self._store[:, :, source, :, :length])

    def clear(self) -> None:
        """Zero everything; needed only after values that were not finite were written."""
        self._store.zero_()
