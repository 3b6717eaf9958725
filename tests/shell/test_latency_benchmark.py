"""The latency benchmark runs and measures what it says; how long it took is not judged here."""

from __future__ import annotations

import re
import subprocess
import sys

from .commands import PROJECT, environment


def test_a_short_run_measures_every_entry() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.latency", "--runs", "8"],
        cwd=PROJECT, env=environment(), capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip

    figures = re.search(r"n 8  p50 (\S+)  p90 (\S+)  p99 (\S+)  max (\S+) ms", done.stdout)
    assert figures is not None, done
    p50, p90, p99, longest = (float(text) for text in figures.groups())
    assert 0 < p50 <= p90 <= p99 <= longest
    assert done.returncode == int(p50 >= 5 or p99 >= 20)
    assert done.stderr == ""
