"""MILOBOT's documented scripts run unchanged."""

from __future__ import annotations

from pathlib import Path

import pytest

from milo.model import EntryIntent
from milo.script.actions import parse_action
from script_executor import AccountView, EvaluationRequest, ScriptExecutor
from tests.script_runs import walk

FILES = ("hidden_bullish_divergence", "macd_crossover", "stochastic_rsi")


@pytest.mark.data
@pytest.mark.parametrize("name", FILES)
async def test_milobot_script_runs_unchanged(milobot_samples: Path, name: str) -> None:
    executor = ScriptExecutor(milobot_samples / f"{name}.script")
    candles = walk(400)
    account = AccountView(available_balance=10_000.0)
    try:
        header = await executor.start()
        results = [
            await executor.evaluate(
                EvaluationRequest(candles=candles.prefix(count), account=account)
            )
            for count in range(250, 401)
        ]
    finally:
        await executor.close()

    assert (header.timeframe, header.coin, header.warnings) == ("1h", "BTCUSDT", ())
    assert all(len(result.prints) == 1 and not result.warnings for result in results)
    true_ones = [result for result in results if result.condition]
    if name != "stochastic_rsi":
        assert true_ones
    for result in true_ones:
        assert isinstance(parse_action(result.action), EntryIntent)
