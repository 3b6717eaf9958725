"""The benchmark of scripts runs and measures what it says; its limits are judged when it is run.

Here they are tenfold, so that only what has become worse by far is seen on a busy machine.
"""

from __future__ import annotations

import re
import subprocess
import sys

from .commands import PROJECT, environment

FIGURE = re.compile(
    r"^(?P<what>.+?) +(?P<value>-?[\d.]+) (?P<unit>us|ms|MB) \(below (?P<limit>\d+)\)"
)
MEASURED = [
    "a trivial script on a new candle, median of 60",
    "beyond its budget of 250 ms: `while True: pass`, worst of 2",
    "start of a worker and its script, warm, median of 2",
    "resident memory of a worker after an evaluation",
    "6 scripts on 6 symbols at a common close, worst of 2",
    "the other 5 while one of them spins",
]


def test_a_short_run_measures_everything_and_judges_it() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.scripts", "--runs", "60", "--scripts", "6"],
        cwd=PROJECT, env=environment(), capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip

    figures = [FIGURE.match(line) for line in done.stdout.splitlines()]
    assert done.stderr == ""
    assert [figure and figure["what"] for figure in figures] == MEASURED
    values = [(float(figure["value"]), float(figure["limit"])) for figure in figures if figure]
    assert done.returncode == int(any(value >= limit for value, limit in values))
    assert done.returncode == int("TOO MUCH" in done.stdout)
    for what, (value, limit) in zip(MEASURED, values, strict=True):
        factor = 1.5 if "memory" in what else 10
        # The script's processor time starts with the question, a little before this clock.
        least = -20 if "beyond" in what else 0
        assert least < value < factor * limit, what
