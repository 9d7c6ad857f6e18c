"""Anchors by likeness, for environments whose states are told apart by their text alone."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher

import torch

from agentrl.errors import ConfigError


def similar_anchors(texts: Sequence[str], group_T: Sequence[int], *, similarity: float = 0.95) -> torch.Tensor:
    """Return an anchor for each turn from what the agent saw (int64 [T]), for `CreditBatch.anchor_T`.

    GiGPO's option (Feng et al. 2025, arXiv 2505.10978): within a group, a text joins the first cluster whose first
    text it is like, by the ratio of `difflib`; else it begins a cluster. It compares every text with every cluster, so
    it suits hundreds of texts a group, not tens of thousands; a hash of the true state is better where there is one.

    Args:
        texts: Observation before each turn.
        group_T: Group of each turn.
        similarity: Smallest ratio that counts as equal, within (0, 1]; 1 compares exactly.

    Raises:
        ConfigError: The similarity is out of range.
    """
    if not 0 < similarity <= 1:
        raise ConfigError(f"similarity = {similarity}: expected a ratio within (0, 1]")
    exact: dict[tuple[int, str], int] = {}
    clusters: dict[int, list[tuple[str, int]]] = {}
    found: list[int] = []
    count = 0
    for text, group in zip(texts, group_T, strict=True):
        anchor = exact.get((group, text))
        if anchor is None:
            anchor = _first_like(text, clusters.setdefault(group, []), similarity)
            if anchor is None:
                anchor = count
                count += 1
                clusters[group].append((text, anchor))
            exact[group, text] = anchor
        found.append(anchor)
    return torch.tensor(found, dtype=torch.int64)


def _first_like(text: str, clusters: Sequence[tuple[str, int]], similarity: float) -> int | None:
    matcher = SequenceMatcher(autojunk=False)
    matcher.set_seq2(text)
    for other, anchor in clusters:
        matcher.set_seq1(other)
        # The two quick ratios are upper bounds and rule most texts out.
        quick = min(matcher.real_quick_ratio(), matcher.quick_ratio())
        if quick >= similarity and matcher.ratio() >= similarity:
            return anchor
    return None
