"""Which families of golden figures there are, each imported when one of its files is verified."""

from __future__ import annotations

import importlib
import re

from agentrl_trainers.verify._family import Family

FAMILIES = (
    "aepo_loss",
    "areal_critic_overlong",
    "areal_losses",
    "arpo_rollout",
    "astar_po",
    "bapo",
    "bilevel_gae",
    "empg",
    "epo_entropy_smoothing",
    "gbpo",
    "gigpo",
    "gvpo",
    "hgpo",
    "hiper_hae",
    "igpo",
    "igpo_info_gain",
    "ngrpo",
    "poad_bad",
    "prime_rl_loss",
    "trl_losses",
    "vagen_turn_gae",
    "verl_advantages",
    "verl_agg_loss",
    "verl_kl_estimators",
    "verl_policy_losses",
    "verl_rollout_correction",
    "verl_value_loss",
)
"""Names of golden files without `.json`; the family of `gigpo` is `FAMILY` in `families/_gigpo.py`."""

PACKAGE = "agentrl_trainers.verify.families"


def family_name(stem: str) -> str | None:
    """Return the family a file belongs to by its name: `gigpo`, or a longer name that holds one (`gigpo_more`)."""
    if stem in FAMILIES:
        return stem
    inside = [name for name in FAMILIES if re.search(rf"(?<![a-z]){name}(?![a-z])", stem.lower())]
    return max(inside, key=len, default=None)


def family(stem: str) -> Family | None:
    """Return the family of a file by its name without `.json`, or None where nobody has written it."""
    name = family_name(stem)
    if name is None:
        return None
    module = f"{PACKAGE}._{name}"
    try:
        found: Family = importlib.import_module(module).FAMILY
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        return None
    return found
