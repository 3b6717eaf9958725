"""Each fault of the exchange by itself, against a running engine: the ledger is the judge."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.judge import judge
from tests.chaos.ledger import read_lines
from tests.shell.commands import milo

SCRIPT = """\
timeframe = "1m"
coin = "BTCUSDT"
turn = int(data[-1].time / 60000) % 3
condition_true = turn < 2
action_if_true = "long(1%risk@20x,sl=0.3%,rr=1)" if turn else "short(1%risk@20x,sl=0.3%,rr=1)"
action_if_false = "close"
"""
SECONDS = "3.5"
FAULTS: dict[str, dict[str, Any]] = {
    "the answer to an entry is lost": {"name": "answer_lost", "on": "entry", "count": 1},
    "an entry is lost": {"name": "request_lost", "on": "entry", "count": 1},
    "the answer to a stop is lost": {"name": "answer_lost", "on": "stop", "count": 1},
    "stops are lost": {"name": "request_lost", "on": "stop", "count": 2},
    "the outcome of closes is unknown": {
        "name": "unknown_code", "on": "close", "code": -1007, "executed": False, "count": 2,
    },
    "a stop is refused": {"name": "refuse_code", "on": "stop", "code": -4130, "count": 1},
    "closes are refused": {"name": "refuse_code", "on": "close", "code": -1001, "count": 3},
    "everything fills in parts, and dries up": {
        "name": "partial_fill", "parts": 3, "pause_ms": 150, "dry": True,
    },
    "new orders cannot be seen": {"name": "invisible"},
    "the account's stream is silent": {"name": "ws_silence"},
    "too many requests": {"name": "too_many_429"},
}  # fmt: skip


@pytest.mark.parametrize("what", FAULTS)
def test_a_single_fault_leaves_every_position_protected(tmp_path: Path, what: str) -> None:
    (tmp_path / "s.script").write_text(SCRIPT)
    fault = {"id": 1, "at_ms": 800, "for_ms": 2_500, **FAULTS[what]}
    (tmp_path / "faults.json").write_text(json.dumps({"seed": 1, "faults": [fault]}))

    done = milo(
        tmp_path, "--script", "s.script", "--loop", "live", "--no-chart", "--speed", "60",
        "--faults", "faults.json", "--ledger", "ledger.jsonl", "--seconds", SECONDS,
        "--history", "100",
    )  # fmt: skip

    verdict = judge(read_lines(tmp_path / "ledger.jsonl"))
    assert done.code == 0, done.err
    assert verdict.findings == []
    assert verdict.trades > 0
    assert verdict.hits or fault["name"] == "ws_silence", "the fault met nothing"
