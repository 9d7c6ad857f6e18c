"""The policy's belief in the true answer, as IGPO needs it: scored by the engine, kept with the trajectory.

`_answer` and `_belief` are pure; the only input and output is in `_score`.
"""

from agentrl_trainers.credit.information._answer import (
    PREFIX,
    SUFFIX,
    AnswerTokens,
    OffsetEncoder,
    answer_tokens,
    offset_encoder,
)
from agentrl_trainers.credit.information._belief import BELIEF, beliefs_of, mean_logprob, with_beliefs
from agentrl_trainers.credit.information._score import information_gain_scores

__all__ = [
    "BELIEF",
    "PREFIX",
    "SUFFIX",
    "AnswerTokens",
    "OffsetEncoder",
    "answer_tokens",
    "beliefs_of",
    "information_gain_scores",
    "mean_logprob",
    "offset_encoder",
    "with_beliefs",
]
