"""What `--doctor` finds: one line a check, and what they add up to. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from milo.shown import shown_line


class Status(StrEnum):
    """How a check came out; only FAIL makes the command fail."""

    OK = "ok"
    WARN = "warn"
    FAIL = "FAIL"
    SKIP = "skip"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One check: what was seen, and what the operator can do about it (empty where nothing)."""

    check: str
    status: Status
    seen: str
    advice: str = ""


def ok(check: str, seen: str) -> Finding:
    return Finding(check=check, status=Status.OK, seen=seen)


def warn(check: str, seen: str, advice: str) -> Finding:
    return Finding(check=check, status=Status.WARN, seen=seen, advice=advice)


def fail(check: str, seen: str, advice: str) -> Finding:
    return Finding(check=check, status=Status.FAIL, seen=seen, advice=advice)


def skip(check: str, why: str) -> Finding:
    return Finding(check=check, status=Status.SKIP, seen=why)


def line_of(finding: Finding) -> str:
    """Return a finding as the one line that the console shows."""
    seen = shown_line(" ".join(finding.seen.split()))
    advice = f" -> {finding.advice}" if finding.advice else ""
    return f"{finding.status:<4}  {finding.check:<16}  {seen}{advice}"


def has_failed(findings: Sequence[Finding]) -> bool:
    return any(finding.status is Status.FAIL for finding in findings)


def closing_line(findings: Sequence[Finding]) -> str:
    """Return how many checks came out how, in one line."""
    counts = [
        f"{sum(finding.status is status for finding in findings)} {status}" for status in Status
    ]
    return ", ".join(counts)


def findings_json(findings: Sequence[Finding], *, venue: str) -> dict[str, Any]:
    """Return the findings as `--json` writes them."""
    return {
        "venue": venue,
        "is_good": not has_failed(findings),
        "checks": [
            {
                "check": finding.check,
                "status": str(finding.status),
                "seen": finding.seen,
                "advice": finding.advice,
            }
            for finding in findings
        ],
    }
