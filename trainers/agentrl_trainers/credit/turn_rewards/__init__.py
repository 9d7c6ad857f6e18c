"""Turn rewards: what is done to rewards before an estimator sees them, each on a page of its own."""

from agentrl_trainers.credit.turn_rewards._efficiency import efficiency_discount
from agentrl_trainers.credit.turn_rewards._format import format_penalty
from agentrl_trainers.credit.turn_rewards._information import GainKind, information_gain, information_gains
from agentrl_trainers.credit.turn_rewards._invalid import invalid_actions
from agentrl_trainers.credit.turn_rewards._length import length_reward
from agentrl_trainers.credit.turn_rewards._overlong import overlong, overlong_penalty

__all__ = [
    "GainKind",
    "efficiency_discount",
    "format_penalty",
    "information_gain",
    "information_gains",
    "invalid_actions",
    "length_reward",
    "overlong",
    "overlong_penalty",
]
