"""Recurrences that run backwards over ragged rows, without a loop over tokens.

Axis legend: K = elements of all rows (tokens or turns), rows contiguous.
"""

from __future__ import annotations

import torch


def reverse_scan(term_K: torch.Tensor, decay_K: torch.Tensor) -> torch.Tensor:
    """Return y with y_k = term_k + decay_k · y_{k+1}.

    A decay of 0 ends a row; the last one is taken as 0. By doubling: after step i each element has summed up its next
    2^i terms, so ⌈log2(longest row)⌉ passes over the flat array do it, however many rows there are.
    """
    total_K = term_K.clone()
    reach_K = decay_K.clone()
    reach_K[-1:] = 0
    step = 1
    while step < len(total_K) and bool(reach_K.any()):
        total_K[:-step] += reach_K[:-step] * total_K[step:]
        reach_K = torch.cat([reach_K[:-step] * reach_K[step:], reach_K[-step:]])
        step *= 2
    return total_K


def continues(index_K: torch.Tensor) -> torch.Tensor:
    """Return whether the next element belongs to the same row [K]; False at the end of each row."""
    follows_K = torch.zeros(index_K.shape, dtype=torch.bool, device=index_K.device)
    follows_K[:-1] = index_K[1:] == index_K[:-1]
    return follows_K


def following(values_K: torch.Tensor, follows_K: torch.Tensor, end_K: torch.Tensor) -> torch.Tensor:
    """Return the value after each element: that of the next of its row, and `end_K` at a row's end [K]."""
    return torch.where(follows_K, torch.roll(values_K, -1), end_K)
