"""What a run leaves behind: its verdict from the files, the files kept, and judged again."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.chaos.books import compare_books, read_journal
from tests.chaos.judge import BOOKS, Finding, Started, Verdict, judge
from tests.chaos.ledger import Line, read_lines
from tests.chaos.processes import read_json

ENGINES = ("engine-started", "recovery-started")
_FILES = {"ledger.jsonl": "jsonl", "processes.jsonl": "processes.jsonl", "plan.json": "plan.json",
          "result.json": "result.json"}  # fmt: skip


def judge_run(
    lines: Sequence[Line],
    diary: Sequence[dict[str, Any]],
    *,
    journal_file: Path,
    result: dict[str, Any] | None,
    ended_t: float,
) -> Verdict:
    """Return the verdict on one run; `ended_t` is when its last engine had ended, wall ms."""
    verdict = judge(lines, started_processes(diary))
    if journal_file.is_file():
        verdict.findings += compare_books(lines, read_journal(journal_file), result, ended_t)
    else:
        verdict.findings.append(Finding(invariant=BOOKS, text="there is no journal"))
    return verdict


def started_processes(diary: Sequence[dict[str, Any]]) -> list[Started]:
    """Return the starts of engines and guards that a run's diary tells.

    An engine starts a guard where it finds none, and again once the old one was killed.
    """
    return [
        Started(t=line["t"], who=line["kind"])
        for line in diary
        if line["kind"] in ENGINES or (line["kind"] == "kill" and line["who"] == "guard")
    ]


def keep(run_folder: Path, out: Path, number: int) -> None:
    """Keep a run's ledger, diary, summary and journal in `out`, so that others can judge too."""
    name = f"run-{number:04d}"
    for source, kind in _FILES.items():
        if (run_folder / source).is_file():
            shutil.copyfile(run_folder / source, out / f"{name}.{kind}")
    for source_file in run_folder.glob("data/*/journal.db"):
        target = out / f"{name}.journal.db"
        target.unlink(missing_ok=True)
        connection = sqlite3.connect(source_file)
        try:
            connection.execute("VACUUM INTO ?", (str(target),))
        finally:
            connection.close()


def judge_folder(out: Path) -> Iterator[tuple[str, Verdict]]:
    """Judge every run that `keep` has kept; yield its name and verdict."""
    for diary_file in sorted(out.glob("run-*.processes.jsonl")):
        name = diary_file.name.removesuffix(".processes.jsonl")
        diary = read_lines(diary_file)
        ends = [line["t"] for line in diary if line["kind"] == "recovery-ended"]
        yield (
            name,
            judge_run(
                read_lines(out / f"{name}.jsonl"),
                diary,
                journal_file=out / f"{name}.journal.db",
                result=read_json(out / f"{name}.result.json"),
                ended_t=ends[-1] if ends else 0.0,
            ),
        )
