"""Our samples: each loads, runs on every candle of a market, and trades now and then."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from milo.candles import Candles
from milo.intervals import INTERVAL_MS
from milo.model import Direction, EntryIntent, ExitIntent, Intent
from milo.script.actions import parse_action
from script_executor import AccountView, EvaluationRequest, ScriptExecutor
from tests.script_runs import Script, walk

SAMPLES = sorted((Path(__file__).parents[2] / "samples").glob("*.script"))
NAMES = [path.stem for path in SAMPLES]


def intents_of(path: Path, candles: Candles, first: int, **account: object) -> list[Intent]:
    """Evaluate a sample on candles from `first` on; return what it asks for."""
    script = Script(path.read_text(encoding="utf-8"), name=path.name)
    intents = []
    for count in range(first, len(candles) + 1):
        outcome = script.run(candles.prefix(count), **account).outcome  # type: ignore[arg-type]
        intent = parse_action(outcome.if_true if outcome.condition else outcome.if_false)
        if intent is not None:
            intents.append(intent)
    return intents


def test_the_documented_samples_are_there() -> None:
    assert {"macd_crossover", "stochastic_rsi", "hidden_bullish_divergence"} <= set(NAMES)
    assert len(NAMES) >= 7


@pytest.mark.parametrize("path", SAMPLES, ids=NAMES)
async def test_sample_runs_in_the_worker(path: Path) -> None:
    executor = ScriptExecutor(path)
    try:
        header = await executor.start()
        assert header.timeframe is not None
        candles = walk(300, interval_ms=INTERVAL_MS[header.timeframe])
        account = AccountView(available_balance=10_000.0)
        results = [
            await executor.evaluate(
                EvaluationRequest(candles=candles.prefix(count), account=account)
            )
            for count in range(295, 301)
        ]
    finally:
        await executor.close()

    assert header.coin is not None
    assert header.warnings == ()
    assert [result.warnings for result in results] == [()] * 6


@pytest.mark.parametrize("path", SAMPLES, ids=NAMES)
def test_sample_stands_a_short_history_and_enters_now_and_then(path: Path) -> None:
    early = intents_of(path, walk(25), 10)
    entries: list[EntryIntent] = []
    for seed in (4, 3, 5, 6):
        later = intents_of(path, walk(400, seed), 150)
        entries += [intent for intent in later if isinstance(intent, EntryIntent)]
        if entries:
            break

    assert not any(isinstance(intent, EntryIntent) for intent in early)
    assert entries
    assert all(entry.stop is not None for entry in entries)
    assert all(entry.target or entry.reward_ratio for entry in entries)


def test_macd_crossover_trades_each_crossing_both_ways(project_dir: Path) -> None:
    path = project_dir / "samples" / "macd_crossover.script"

    intents = intents_of(path, walk(400), 60)

    sides = [intent.direction for intent in intents if isinstance(intent, EntryIntent)]
    assert len(sides) > 10
    assert all(one is not other for one, other in pairwise(sides))
    assert set(sides) == {Direction.LONG, Direction.SHORT}


def test_hidden_divergence_counts_only_while_it_is_new(project_dir: Path) -> None:
    path = project_dir / "samples" / "hidden_bullish_divergence.script"
    candles = walk(800, seed=3)
    script = Script(path.read_text(encoding="utf-8"))

    fired = [n for n in range(100, len(candles)) if script.run(candles.prefix(n)).condition]

    runs = [n for n in fired if n - 1 not in fired]
    assert runs
    assert len(fired) <= 2 * len(runs) + 2


def test_rsi_reversion_closes_half_of_an_open_position(project_dir: Path) -> None:
    path = project_dir / "samples" / "rsi_reversion.script"
    position = {"symbol": "BTCUSDT", "side": "long", "qty": 1.0}

    intents = intents_of(path, walk(400), 60, positions=[position])

    percents = {str(i.percent) for i in intents if isinstance(i, ExitIntent)}
    assert percents == {"50", "100"}


def test_every_sample_is_in_the_list_of_samples(project_dir: Path) -> None:
    readme = (project_dir / "samples" / "README.md").read_text(encoding="utf-8")

    assert [name for name in NAMES if f"{name}.script" not in readme] == []
