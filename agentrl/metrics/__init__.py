"""Metrics of a run: one JSON object per step on disk, TensorBoard beside it, a live panel on the terminal."""

from agentrl.metrics._panel import Panel
from agentrl.metrics._reader import METRICS_NAME, read_metrics
from agentrl.metrics._snapshot import RunSnapshot
from agentrl.metrics._writer import SUPERSEDED_NAME, MetricsWriter

__all__ = ["METRICS_NAME", "SUPERSEDED_NAME", "MetricsWriter", "Panel", "RunSnapshot", "read_metrics"]
