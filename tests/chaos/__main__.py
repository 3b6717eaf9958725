"""`python -m tests.chaos --runs 200 --seed 1`: the chaos run; exit code 1 on any breach."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from tests.chaos.kept import judge_folder, keep
from tests.chaos.report import (
    Totals,
    breach_lines,
    details,
    page,
    progress_line,
    shortfalls,
    table,
)
from tests.chaos.run import Outcome, Run
from tests.chaos.schedule import plan_run


def main(argv: Sequence[str] | None = None) -> int:
    """Run, report, and return 0 where every promise was kept."""
    options = _parser().parse_args(argv)
    if options.judge is not None:
        return _judge_again(options.judge)
    numbers = range(1, options.runs + 1) if options.only is None else options.only
    base = Path(tempfile.mkdtemp(prefix="milo-chaos-"))
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
    totals, broken = Totals(), []
    for outcome in _outcomes(options, numbers, base):
        totals.add(outcome)
        print(progress_line(outcome), flush=True)
        if options.out is not None:
            keep(outcome.folder, options.out, outcome.plan.number)
        if outcome.is_good and not options.keep:
            shutil.rmtree(outcome.folder)
            continue
        if not outcome.is_good:
            broken.append(outcome.plan.number)
            command = f"python -m tests.chaos --seed {options.seed} --only {outcome.plan.number}"
            print("\n".join(breach_lines(outcome, command)), flush=True)
    weak = shortfalls(totals)
    print("\n".join(("", *table(totals), "", *details(totals), "")))
    for text in weak:
        print(f"also: {text}")
    if broken:
        print(f"broken in {len(broken)} runs: {' '.join(map(str, sorted(broken)))}; kept in {base}")
    elif not options.keep:
        shutil.rmtree(base, ignore_errors=True)
    if options.record is not None:
        options.record.write_text(page(totals, seed=options.seed, jobs=options.jobs, notes=()))
    return 0 if totals.is_good and not weak else 1


def _judge_again(folder: Path) -> int:
    is_good = True
    for name, verdict in judge_folder(folder):
        is_good = is_good and verdict.is_good
        print(f"{name} {'ok' if verdict.is_good else 'BREACH'}")
        for finding in verdict.findings:
            print(f"  {finding.invariant}: {finding.text}")
    return 0 if is_good else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    add = parser.add_argument
    add("--runs", type=int, default=200, metavar="N", help="how many runs (default 200)")
    add("--seed", type=int, default=1, metavar="N", help="what all plans are drawn from")
    add("--jobs", type=int, default=1, metavar="N", help="runs at a time (default 1)")
    add("--only", type=int, nargs="+", metavar="N", help="only the runs of these numbers")
    add("--out", type=Path, metavar="DIR", help="keep ledgers (JSONL), journals and diaries")
    add("--keep", action="store_true", help="keep the folders of good runs too")
    add("--without-guard", action="store_true", help="a check of the judge: it must find breaches")
    add("--judge", type=Path, metavar="DIR", help="run nothing: judge what --out has kept again")
    add("--record", type=Path, metavar="FILE", help="write the page docs/chaos.md")
    return parser


def _outcomes(options: argparse.Namespace, numbers: Sequence[int], base: Path) -> Iterator[Outcome]:
    with ThreadPoolExecutor(max_workers=options.jobs) as pool:
        running = [pool.submit(_carry_out, options, number, base) for number in numbers]
        try:
            for done in as_completed(running):
                yield done.result()
        finally:
            # After an error or Ctrl-C: what has not begun does not begin.
            pool.shutdown(wait=True, cancel_futures=True)


def _carry_out(options: argparse.Namespace, number: int, base: Path) -> Outcome:
    folder = base / f"run-{number:04d}"
    folder.mkdir()
    plan = plan_run(options.seed, number)
    return Run(plan, folder, has_guard=not options.without_guard).carry_out()


if __name__ == "__main__":
    sys.exit(main())
