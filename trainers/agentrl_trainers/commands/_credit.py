"""`agentrl credit`: check credit against its authors' figures, and see what methods say about recorded trajectories."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import click

from agentrl_trainers.commands._credit_compare import compare_command
from agentrl_trainers.verify import Finding, Verdict, golden_paths, read_golden, verify_file


@click.group()
def credit() -> None:
    """Check credit methods against reference figures, or compare them on the trajectories of a run."""


credit.add_command(compare_command)


@credit.command()
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the findings as one JSON document.")
@click.option("--quiet", is_flag=True, help="Print only what is not ok.")
def verify(paths: tuple[Path, ...], as_json: bool, quiet: bool) -> None:
    """Recompute every figure of golden files by the functions that training uses.

    PATH is a golden file, or a folder of them. Prints `file case key max_abs_err verdict`; the verdict is ok, FAIL,
    unsupported or reference-bug, the last with the reason. Exits with 1 on FAIL or unsupported.
    """
    files = [read_golden(path) for path in golden_paths(paths)]
    repeated = {name for name, count in Counter(file.path.name for file in files).items() if count > 1}
    findings: list[Finding] = []
    for file in files:
        for finding in verify_file(file):
            findings.append(finding)
            if not as_json and not (quiet and finding.verdict is Verdict.OK):
                click.echo(_line(finding, full_path=file.path.name in repeated))
    counts = Counter(finding.verdict for finding in findings)
    if as_json:
        click.echo(json.dumps(_document(findings, counts), indent=2))
    else:
        told = ", ".join(f"{counts[verdict]} {verdict}" for verdict in Verdict)
        click.echo(f"{len(findings)} keys of {len(files)} files: {told}", err=True)
    if any(finding.verdict.bad for finding in findings):
        raise click.exceptions.Exit(1)


def _line(finding: Finding, *, full_path: bool) -> str:
    file = str(finding.file) if full_path else finding.file.name
    error = "-" if math.isnan(finding.error) else f"{finding.error:.1e}"
    note = "" if finding.verdict is Verdict.OK or not finding.note else f"  ({finding.note})"
    return f"{file} {finding.case} {finding.key} {error} {finding.verdict}{note}"


def _document(findings: Sequence[Finding], counts: Counter[Verdict]) -> dict[str, object]:
    return {
        "counts": {str(verdict): counts[verdict] for verdict in Verdict},
        "findings": [
            {
                "file": str(finding.file),
                "case": finding.case,
                "key": finding.key,
                # JSON has no number for either; the words are those of the golden files.
                "max_abs_err": finding.error if math.isfinite(finding.error) else str(finding.error),
                "verdict": str(finding.verdict),
                "note": finding.note,
            }
            for finding in findings
        ],
    }
