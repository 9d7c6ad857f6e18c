"""Evaluation: play the tasks of a split and report with confidence intervals, errors apart from failures."""

from agentrl.evaluation._outcome import EvalSetting, Outcome, outcome_of
from agentrl.evaluation._players import EnginePlayer, ExpertPlayer, Player, RandomPlayer
from agentrl.evaluation._provenance import command_line, model_hash, versions
from agentrl.evaluation._random_actions import RandomActions, survey_actions
from agentrl.evaluation._render import markdown, plain, table
from agentrl.evaluation._report import EvalReport
from agentrl.evaluation._run import default_limits, evaluate
from agentrl.evaluation._statistics import Estimate, estimate, pass_all_k, pass_at_k

__all__ = [
    "EnginePlayer",
    "Estimate",
    "EvalReport",
    "EvalSetting",
    "ExpertPlayer",
    "Outcome",
    "Player",
    "RandomActions",
    "RandomPlayer",
    "command_line",
    "default_limits",
    "estimate",
    "evaluate",
    "markdown",
    "model_hash",
    "outcome_of",
    "pass_all_k",
    "pass_at_k",
    "plain",
    "survey_actions",
    "table",
    "versions",
]
