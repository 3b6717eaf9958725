"""A few fixed chaos runs: real engine, guard and exchange, with faults and kills."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.run import Run
from tests.chaos.schedule import plan_run

SEED = 1


@pytest.mark.parametrize("number", [20, 24, 34])
def test_a_chaos_run_breaks_no_promise(tmp_path: Path, number: int) -> None:
    outcome = Run(plan_run(SEED, number), tmp_path).carry_out()

    assert outcome.verdict.findings == []
    assert outcome.crashes == []
    assert outcome.verdict.trades > 0
    assert outcome.kills
    assert outcome.left_processes == 0
