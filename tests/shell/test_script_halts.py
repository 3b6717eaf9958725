"""Scripts that fail or overrun their budget in a whole run: told, halted, harmless to others."""

from __future__ import annotations

import json
from pathlib import Path

from tests.shell.commands import Finished, milo

LOOP = ("--loop", "--speed", "max", "--history", "100", "--no-chart")
SPINS = """\
coin = "BTCUSDT"
timeframe = "1h"
condition_true = True
action_if_true = "long(1%risk@10x,sl=2%)"
while len(data) in (102, 104, 106):
    pass
"""
FAILS = """\
coin = "ETHUSDT"
timeframe = "1h"
if len(data) > 101:
    condition_true = [][len(data)] > 0
"""
GOOD = """\
coin = "SOLUSDT"
timeframe = "1h"
print(len(data))
condition_true = len(data) % 2 == 0
action_if_true = "long(1%risk@5x,sl=5%)"
action_if_false = "close"
"""


def run(folder: Path, candles: int, *flags: str, **scripts: str) -> tuple[Finished, dict[str, int]]:
    arguments: list[str] = []
    for name, text in scripts.items():
        (folder / f"{name}.script").write_text(text, encoding="utf-8")
        arguments += ["--script", str(folder / f"{name}.script")]
    out = folder / "out.json"
    done = milo(
        folder, *arguments, *LOOP, "--candles", str(candles), "--json", str(out), *flags
    )  # fmt: skip
    return done, json.loads(out.read_text())


def lines_about(text: str, words: str) -> list[str]:
    return [line for line in text.splitlines() if words in line]


def test_failing_and_spinning_scripts_are_halted_and_others_run_on(tmp_path: Path) -> None:
    (tmp_path / "alone").mkdir()
    alone, _ = run(tmp_path / "alone", 9, "-v", good=GOOD)
    done, summary = run(tmp_path, 9, "-v", good=GOOD, spins=SPINS, fails=FAILS)

    stopped = lines_about(done.err, "spins.script line 5")
    halted = [line.split(" ", 2)[2] for line in lines_about(done.err, "halted after")]
    assert done.code == 0
    assert len(stopped) == 3
    assert all("ms of CPU time (limit 250 ms). No order was sent." in line for line in stopped)
    assert len(lines_about(done.err, "fails.script line 4")) == 5
    assert sorted(halted) == [
        f"{name}: halted after {why}: it is not run again before Milo is started anew; its "
        "protective orders stay"
        for name, why in (
            ("fails", "5 failures in a row"),
            ("spins", "3 budget breaches in 24 h"),
        )
    ]
    # The first script decides when nine candles are over; both others ended at the sixth.
    assert summary["evaluations"] == 6 + 6 + 9
    assert summary["script_errors"] == 3 + 5
    assert lines_about(done.out, "good | ") == lines_about(alone.out, "good | ")


def test_position_of_a_halted_script_keeps_its_stop(tmp_path: Path) -> None:
    done, _ = run(tmp_path, 8, spins=SPINS)

    listed = milo(tmp_path, "--listopenpositions")

    assert "halted after 3 budget breaches" in done.err
    assert "BTCUSDT long  protected  script spins" in listed.out


def test_starting_anew_lets_a_halted_script_run_again(tmp_path: Path) -> None:
    run(tmp_path, 8, fails=FAILS)
    (tmp_path / "fails.script").unlink()

    done, summary = run(tmp_path, 2, fails=FAILS.replace("101", "100000"))

    assert "halted" not in done.err
    assert summary["evaluations"] == 2


def test_entry_above_a_cap_is_told_and_the_record_gives_the_same_refusal(tmp_path: Path) -> None:
    greedy = GOOD.replace("1%risk@5x,sl=5%", "80%margin@5x,sl=15%")

    done, summary = run(tmp_path, 4, "--symbols", "SOLUSDT", good=greedy, spins=SPINS)
    again = milo(tmp_path, "--replay", "last")

    assert summary["orders"] == 0
    assert lines_about(done.out, "the limit is 50.00% (--max-risk)")
    assert lines_about(done.err, "spins: BTCUSDT is not among --symbols SOLUSDT; it will open")
    assert lines_about(done.out, "BTCUSDT is not among the allowed symbols SOLUSDT (--symbols)")
    assert "same commands" in again.out
