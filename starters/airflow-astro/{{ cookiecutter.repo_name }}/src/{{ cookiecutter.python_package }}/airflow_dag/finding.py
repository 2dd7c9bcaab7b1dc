"""What a check finds: where, why, and what to do about it."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from rich import box
from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Finding:
    """One line of the table; with the level ``error``, a deployment would not work."""

    level: str
    where: str
    why: str
    what_to_do: str

    def __str__(self) -> str:
        return f"{self.where}: {self.why} {self.what_to_do}"


def errors(findings: Iterable[Finding]) -> list[Finding]:
    """Keep those with which a deployment would not work."""
    return [finding for finding in findings if finding.level == "error"]


def show(findings: Iterable[Finding], as_json: bool) -> None:
    """Print findings as a table, errors first, or as a JSON list."""
    found = sorted(dict.fromkeys(findings), key=lambda finding: finding.level)
    if as_json:
        print(json.dumps([asdict(finding) for finding in found], indent=2))
        return
    table = Table("", "where", "why", "what to do", box=box.SIMPLE_HEAD, show_lines=True)
    for finding in found:
        table.add_row(*asdict(finding).values())
    console = Console(highlight=False, markup=False)
    if found:
        console.print(table)
    if wrong := len(errors(found)):
        console.print(f"A deployment would not work: {wrong} error{'s' * (wrong > 1)}.")
    else:
        console.print("A deployment would work.")
