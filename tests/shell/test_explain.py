"""--explain: what an action would do now, as a process on the embedded exchange."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from .commands import milo

ENTRY = "long(1%risk@10x,sl=2%,rr=3)"


def rows_of(out: str) -> dict[str, str]:
    lines = [re.split(r"  +", line.strip(), maxsplit=1) for line in out.splitlines()[1:]]
    return {label: text for label, text in lines}


def test_an_entry_is_worked_out_and_nothing_is_sent(tmp_path: Path) -> None:
    told = milo(tmp_path, "--explain", ENTRY, "--symbol", "BTCUSDT")
    listed = milo(tmp_path, "--listopenpositions")

    rows = rows_of(told.out)
    assert told.code == 0, told
    assert {"quantity", "notional", "leverage", "margin", "stop", "target", "profit there"} <= set(
        rows
    )
    assert rows["quantity"].startswith("long ")
    assert rows["stop"].endswith("(-2.00 %)")
    assert rows["target"].endswith("(+6.00 %)")
    assert "behind the stop" in rows["liquidation"]
    loss = float(rows["loss at the stop"].split()[0])
    assert 95 < loss <= 100
    assert "no open position" in listed.out


def test_a_distance_in_atr_is_worked_out_from_the_interval(tmp_path: Path) -> None:
    hours, minutes = (
        milo(tmp_path, "--explain", "short(1%risk@5x,sl=2atr)", "--interval", interval)
        for interval in ("4h", "5m")
    )

    assert hours.code == minutes.code == 0, hours
    assert rows_of(hours.out)["stop"] != rows_of(minutes.out)["stop"]


REFUSED = [
    pytest.param("close(50%)", "no position is open", id="exit while flat"),
    pytest.param("long(0.001%risk@10x,sl=2%)", "below the exchange's minimum", id="too small"),
    pytest.param("long(1%risk@40x,sl=50%)", "beyond the liquidation price", id="liquidation"),
    pytest.param(
        "long(1%risk@126x,sl=2%)", "leverage 126x is above the limit of 125x", id="leverage's cap"
    ),
    pytest.param("long(60%margin@1x)", "the limit is 50.00% (--max-risk)", id="risk's cap"),
]


@pytest.mark.parametrize(("action", "why"), REFUSED)
def test_a_refusal_is_told_with_exit_code_2(tmp_path: Path, action: str, why: str) -> None:
    told = milo(tmp_path, "--explain", action)

    assert told.code == 2
    assert why in rows_of(told.out)["refused"]
    assert told.err == ""


def test_the_operators_caps_can_be_changed(tmp_path: Path) -> None:
    free = milo(
        tmp_path, "--explain", "long(51%risk@60x,sl=0.5%)", "--max-risk", "0",
        "--max-leverage", "0", "--symbols", "ETHUSDT, BTCUSDT",
    )  # fmt: skip
    impossible = milo(tmp_path, "--explain", "long(1%risk@1000x,sl=2%)", "--max-leverage", "0")
    elsewhere = milo(tmp_path, "--explain", ENTRY, "--symbols", "ETHUSDT")
    leaving = milo(tmp_path, "--explain", "donothing", "--symbols", "ETHUSDT")

    assert free.code == 0, free
    assert "outside 1x to" in rows_of(impossible.out)["refused"]
    assert elsewhere.code == 2
    assert rows_of(elsewhere.out)["refused"] == (
        "BTCUSDT is not among the allowed symbols ETHUSDT (--symbols)"
    )
    assert leaving.code == 0


def test_text_that_is_no_action_is_wrong_use(tmp_path: Path) -> None:
    told = milo(tmp_path, "--explain", "long(1%risk")

    assert told.code == 2
    assert told.out == ""
    assert "expected" in told.err


def test_beside_an_open_position_each_action_says_what_becomes_of_it(tmp_path: Path) -> None:
    script = tmp_path / "always.script"
    script.write_text(f'coin = "BTCUSDT"\ncondition_true = True\naction_if_true = "{ENTRY}"\n')
    milo(tmp_path, "--script", str(script))

    half, whole, same, opposite = (
        milo(tmp_path, "--explain", action)
        for action in ("close(50%)", "close", ENTRY, ENTRY.replace("long", "short"))
    )

    assert half.code == whole.code == opposite.code == 0, (half, whole, opposite)
    assert "stop and target stay" in rows_of(half.out)["left"]
    assert "stop and target end" in rows_of(whole.out)["left"]
    assert same.code == 2
    assert "open already" in rows_of(same.out)["refused"]
    assert "the long is closed" in rows_of(opposite.out)["first"]
    assert rows_of(opposite.out)["quantity"].startswith("short ")
