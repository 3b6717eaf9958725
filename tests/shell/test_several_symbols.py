"""Runs on several symbols, and the funding rates of each, where something is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from main import Terminal, _makers
from milo.cli import initdb
from milo.cli.context import App, Arguments
from milo.cli.venue import OpenVenue
from milo.clock import VenueClock
from milo.config import load_config
from milo.store import funding
from milo.wire.dialects import BINANCE
from tests.scripted_venue import ScriptedVenue, client_of, error

from .commands import milo

EVERY_SECOND = """\
timeframe = "1h"
condition_true = len(data) % 2 == 0
action_if_true = "long(1%risk@5x,sl=5%)"
action_if_false = "close"
"""


def test_a_live_run_trades_each_symbol_of_the_list(tmp_path: Path) -> None:
    (tmp_path / "s.script").write_text(EVERY_SECOND)

    done = milo(
        tmp_path, "--script", "s.script", "--symbol", "BTCUSDT,ETHUSDT", "--loop", "live",
        "--speed", "max", "--history", "100", "--candles", "4", "--no-chart", "--json", "out.json",
    )  # fmt: skip

    assert done.code == 0, done.err
    trades = json.loads((tmp_path / "out.json").read_text())["trades"]
    for symbol in ("BTCUSDT", "ETHUSDT"):
        own = [trade for trade in trades if trade["symbol"] == symbol]
        assert [trade["reason"] for trade in own] == ["close", None]
        assert f"script s: {symbol} 1h, 100 closed candles" in done.out


async def test_a_venue_that_refuses_funding_rates_is_a_warning(
    venue: ScriptedVenue,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    row = {"symbol": "ETHUSDT", "fundingTime": 1_000, "fundingRate": "0.0002", "markPrice": "1"}
    venue.script("/fapi/v1/fundingRate", error(400, -1121), [row])
    clock, makers = VenueClock(), _makers([])
    client = client_of(venue.url)
    app = App(
        config=load_config({}, environ={}),
        arguments=Arguments(command="initdb"),
        console=Terminal(),
        make=makers,
    )

    async with client, makers.store(tmp_path) as store:
        opened = OpenVenue(
            name=BINANCE.name, title="the venue", folder=tmp_path, dialect=BINANCE,
            rest_url=venue.url, ws_url="", clock=clock, client=client, store=store, exchange=None,
            account="test", signer=None, is_real=True,
        )  # fmt: skip
        await initdb.fill_funding_rates(app, opened, "BTCUSDT", [0])
        await initdb.fill_funding_rates(app, opened, "ETHUSDT", [0])
        kept = await store.read(lambda conn: funding.load_funding(conn, "ETHUSDT"))

    said = capsys.readouterr()
    assert "BTCUSDT: no more funding rates" in said.err
    assert "the candles are stored" in said.err
    assert "ETHUSDT  1 new funding rates" in said.out
    assert [rate.time_ms for rate in kept] == [1_000]
