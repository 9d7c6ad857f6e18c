"""Policy engines behind one contract. The embedded engine is imported on demand: it needs torch."""

from agentrl.policy._base import (
    EngineStats,
    FinishReason,
    Generation,
    PolicyEngine,
    SamplingParams,
    WeightSource,
    empty_generation,
)

__all__ = [
    "EngineStats",
    "FinishReason",
    "Generation",
    "PolicyEngine",
    "SamplingParams",
    "WeightSource",
    "empty_generation",
]
