"""Recurrences that run backwards over ragged rows, without a loop over tokens.

Axis legend: K = elements of all rows (tokens or turns), rows contiguous; S = elements of a chunk, C = chunks.
"""

from __future__ import annotations

import math

import torch


def reverse_scan(term_K: torch.Tensor, decay_K: torch.Tensor) -> torch.Tensor:
    """Return y with y_k = term_k + decay_k · y_{k+1}.

    A decay of 0 ends a row; the last one is taken as 0. The flat array is cut into √K chunks of √K elements, whatever
    its rows are: all chunks are scanned side by side as if nothing followed them, then the first elements of the chunks
    are, and what follows a chunk is added with the decay that it has got by then.
    """
    count = len(term_K)
    if count <= 1:
        return term_K.clone()
    size = math.isqrt(count - 1) + 1
    chunks = -(-count // size)
    missing = chunks * size - count
    term_SC = torch.nn.functional.pad(term_K, (0, missing)).view(chunks, size).T.contiguous()
    decay_SC = torch.nn.functional.pad(decay_K.to(term_K.dtype), (0, missing)).view(chunks, size).T.contiguous()
    decay_SC[(count - 1) % size, -1] = 0
    for step in range(size - 2, -1, -1):
        term_SC[step].addcmul_(decay_SC[step], term_SC[step + 1])
        decay_SC[step] *= decay_SC[step + 1]
    first_C = reverse_scan(term_SC[0], decay_SC[0])
    after_C = torch.nn.functional.pad(first_C[1:], (0, 1))
    return torch.addcmul(term_SC, decay_SC, after_C).T.reshape(-1)[:count]


def continues(index_K: torch.Tensor) -> torch.Tensor:
    """Return whether the next element belongs to the same row [K]; False at the end of each row."""
    follows_K = torch.zeros(index_K.shape, dtype=torch.bool, device=index_K.device)
    follows_K[:-1] = index_K[1:] == index_K[:-1]
    return follows_K


def following(values_K: torch.Tensor, follows_K: torch.Tensor, end_K: torch.Tensor) -> torch.Tensor:
    """Return the value after each element: that of the next of its row, and `end_K` at a row's end [K]."""
    return torch.where(follows_K, torch.roll(values_K, -1), end_K)
