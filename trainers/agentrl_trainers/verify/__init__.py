"""Verification of credit and objectives against figures of their authors' code, by the functions training uses."""

from agentrl_trainers.verify._check import Finding, Verdict, verify_file
from agentrl_trainers.verify._family import Family, Recompute
from agentrl_trainers.verify._golden import GoldenCase, GoldenFile, golden_paths, read_golden
from agentrl_trainers.verify._table import FAMILIES, family

__all__ = [
    "FAMILIES",
    "Family",
    "Finding",
    "GoldenCase",
    "GoldenFile",
    "Recompute",
    "Verdict",
    "family",
    "golden_paths",
    "read_golden",
    "verify_file",
]
