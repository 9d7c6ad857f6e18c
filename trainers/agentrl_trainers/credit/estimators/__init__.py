"""Estimators: from rewards to one advantage per sampled token, each method on a page of its own."""

from agentrl_trainers.credit.estimators._bilevel_gae import bilevel_gae
from agentrl_trainers.credit.estimators._dr_grpo import dr_grpo
from agentrl_trainers.credit.estimators._egae import egae
from agentrl_trainers.credit.estimators._gae import gae
from agentrl_trainers.credit.estimators._gdpo import gdpo
from agentrl_trainers.credit.estimators._gigpo import gigpo
from agentrl_trainers.credit.estimators._gpg import gpg
from agentrl_trainers.credit.estimators._grpo import grpo
from agentrl_trainers.credit.estimators._grpo_passk import grpo_passk
from agentrl_trainers.credit.estimators._hgpo import hgpo
from agentrl_trainers.credit.estimators._hiper_hae import hiper_hae
from agentrl_trainers.credit.estimators._igpo import igpo
from agentrl_trainers.credit.estimators._igpo_2025 import igpo_2025
from agentrl_trainers.credit.estimators._max_at_k import max_at_k
from agentrl_trainers.credit.estimators._ngrpo import ngrpo
from agentrl_trainers.credit.estimators._opo import opo
from agentrl_trainers.credit.estimators._optimal_token_baseline import optimal_token_baseline
from agentrl_trainers.credit.estimators._poad import poad
from agentrl_trainers.credit.estimators._reinforce_pp import reinforce_pp
from agentrl_trainers.credit.estimators._remax import remax
from agentrl_trainers.credit.estimators._rloo import rloo
from agentrl_trainers.credit.estimators._single_stream import single_stream
from agentrl_trainers.credit.estimators._turn_gae import turn_gae
from agentrl_trainers.credit.estimators._turn_group import turn_group

__all__ = [
    "bilevel_gae",
    "dr_grpo",
    "egae",
    "gae",
    "gdpo",
    "gigpo",
    "gpg",
    "grpo",
    "grpo_passk",
    "hgpo",
    "hiper_hae",
    "igpo",
    "igpo_2025",
    "max_at_k",
    "ngrpo",
    "opo",
    "optimal_token_baseline",
    "poad",
    "reinforce_pp",
    "remax",
    "rloo",
    "single_stream",
    "turn_gae",
    "turn_group",
]
