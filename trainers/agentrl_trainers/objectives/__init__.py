"""Objectives: from log-probs and advantages to a loss per token and its diagnostics; pure functions on flat arrays."""

from agentrl_trainers.objectives._aggregate import Aggregation, Denominators, aggregation_weights
from agentrl_trainers.objectives._bapo import Bounds, bapo, bapo_bounds
from agentrl_trainers.objectives._bound import BoundObjective, mismatch_correction, objective
from agentrl_trainers.objectives._cispo import cispo
from agentrl_trainers.objectives._covariance import (
    clip_cov,
    clip_cov_selection,
    covariance,
    kl_cov,
    kl_cov_selection,
)
from agentrl_trainers.objectives._decoupled import decoupled_ppo
from agentrl_trainers.objectives._dppo import dppo
from agentrl_trainers.objectives._entropy_smoothing import corridor_penalty, entropy_smoothing, smoothing_weight
from agentrl_trainers.objectives._gbpo import gbpo, median_relative
from agentrl_trainers.objectives._gmpo import gmpo
from agentrl_trainers.objectives._gspo import gspo, luspo
from agentrl_trainers.objectives._importance import ImportanceWeights, importance_weights
from agentrl_trainers.objectives._kl import KLKind, corrected_kl, kl
from agentrl_trainers.objectives._llds import likelihood_preserving
from agentrl_trainers.objectives._m2po import m2po, m2po_mask
from agentrl_trainers.objectives._mismatch import (
    Correction,
    correction_weights,
    high_entropy,
    off_policy_sequences,
)
from agentrl_trainers.objectives._mismatch_metrics import off_policy_metrics, rejection_metrics, weight_metrics
from agentrl_trainers.objectives._policy_gradient import dro, policy_gradient
from agentrl_trainers.objectives._ppo import clipped_surrogate, ppo_clip, ratio
from agentrl_trainers.objectives._prime_rl import prime_rl, reference_distillation, region_metrics
from agentrl_trainers.objectives._proximal import approximate_proximal
from agentrl_trainers.objectives._regression import (
    Residual,
    astar_residual,
    gvpo_residual,
    optimal_value,
    rebel_residual,
    regression,
)
from agentrl_trainers.objectives._rejection import Criterion, rejection_mask
from agentrl_trainers.objectives._run_file import aggregation_of, objective_of
from agentrl_trainers.objectives._sapo import sapo
from agentrl_trainers.objectives._table import OBJECTIVES, ObjectiveMethod
from agentrl_trainers.objectives._token_loss import Objective, TokenLoss
from agentrl_trainers.objectives._value import ValueLoss, value_loss
from agentrl_trainers.objectives._vespo import vespo
from agentrl_trainers.objectives._whole_batch import Preparation, WholeBatch, per_token

__all__ = [
    "OBJECTIVES",
    "Aggregation",
    "BoundObjective",
    "Bounds",
    "Correction",
    "Criterion",
    "Denominators",
    "ImportanceWeights",
    "KLKind",
    "Objective",
    "ObjectiveMethod",
    "Preparation",
    "Residual",
    "TokenLoss",
    "ValueLoss",
    "WholeBatch",
    "aggregation_of",
    "aggregation_weights",
    "approximate_proximal",
    "astar_residual",
    "bapo",
    "bapo_bounds",
    "cispo",
    "clip_cov",
    "clip_cov_selection",
    "clipped_surrogate",
    "corrected_kl",
    "correction_weights",
    "corridor_penalty",
    "covariance",
    "decoupled_ppo",
    "dppo",
    "dro",
    "entropy_smoothing",
    "gbpo",
    "gmpo",
    "gspo",
    "gvpo_residual",
    "high_entropy",
    "importance_weights",
    "kl",
    "kl_cov",
    "kl_cov_selection",
    "likelihood_preserving",
    "luspo",
    "m2po",
    "m2po_mask",
    "median_relative",
    "mismatch_correction",
    "objective",
    "objective_of",
    "off_policy_metrics",
    "off_policy_sequences",
    "optimal_value",
    "per_token",
    "policy_gradient",
    "ppo_clip",
    "prime_rl",
    "ratio",
    "rebel_residual",
    "reference_distillation",
    "region_metrics",
    "regression",
    "rejection_mask",
    "rejection_metrics",
    "sapo",
    "smoothing_weight",
    "value_loss",
    "vespo",
    "weight_metrics",
]
