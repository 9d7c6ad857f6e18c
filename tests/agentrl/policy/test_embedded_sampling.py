"""Sampling: uniform numbers by hash, filters by definition."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from agentrl.policy.embedded._sampling import filter_logits, row_sampling, sample, seed_key, uniforms


def test_uniforms_are_uniform_and_independent_over_positions_and_seeds():
    keys = np.array([seed_key(seed) for seed in range(200)], np.uint64)
    grid = np.stack([uniforms(keys, np.full(200, position)) for position in range(200)])
    assert grid.min() >= 0
    assert grid.max() < 1
    counts, _ = np.histogram(grid, bins=20, range=(0, 1))
    assert (np.abs(counts - 2000) < 5 * np.sqrt(2000)).all()
    assert abs(np.corrcoef(grid[:-1].ravel(), grid[1:].ravel())[0, 1]) < 0.02
    assert abs(np.corrcoef(grid[:, :-1].ravel(), grid[:, 1:].ravel())[0, 1]) < 0.02


def test_the_hash_never_changes():
    """A resumed run, or one on another machine, must draw the same numbers."""
    keys = np.array([seed_key(0), seed_key(1), seed_key(-1), seed_key(2**64 - 1)], np.uint64)
    drawn = uniforms(keys, np.array([0, 1, 1000, 1000]))
    assert drawn[2] == drawn[3]
    np.testing.assert_array_equal(
        drawn[:3], np.array([0.6524484753608704, 0.9435641765594482, 0.03388410806655884], np.float32)
    )


@given(
    st.lists(st.floats(-8, 8, width=32), min_size=2, max_size=12),
    st.integers(0, 14),
    st.floats(2**-6, 1, width=32),
)
def test_filters_keep_the_best_and_no_more_than_needed(logits, top_k, top_p):
    filtered = filter_logits(torch.tensor([logits]), torch.tensor([top_k]), torch.tensor([top_p]))[0]
    kept = torch.isfinite(filtered)
    assert kept.any()
    assert (filtered[kept] == torch.tensor(logits)[kept]).all()
    if not kept.all():
        assert torch.tensor(logits)[kept].min() >= torch.tensor(logits)[~kept].max()
    if top_k:
        assert int(kept.sum()) <= top_k
    best = torch.tensor(logits).sort(descending=True).values[: top_k or None]
    mass = torch.softmax(best, -1)[: int(kept.sum())]
    assert float(mass.sum()) >= top_p - 1e-5
    assert float(mass[:-1].sum()) < top_p + 1e-5


@given(st.floats(0, 1, exclude_max=True, width=32))
def test_tokens_without_probability_are_never_drawn(uniform):
    logits = torch.full((1, 50), -torch.inf)
    logits[0, 7], logits[0, 30] = 1.0, 1.0
    rows = row_sampling(np.ones(1, np.float32), np.array([2]), np.ones(1, np.float32), torch.device("cpu"))
    tokens, logprobs, entropies = sample(logits, rows, torch.tensor([uniform]))
    assert int(tokens[0]) == (7 if uniform < 0.5 else 30)
    assert abs(float(logprobs[0]) - np.log(0.5)) < 1e-6
    assert abs(float(entropies[0]) - np.log(2)) < 1e-6
