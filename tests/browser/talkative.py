"""A market whose script says something on every candle: conditions, lines, marks, text."""

from __future__ import annotations

from milo.charts.snapshot import ChartScript, LogKind
from milo.charts.trail import ScriptTrail
from milo.model import Plot, ScriptResult
from tests.chart_market import ChartMarket, line, long_position, round_trip, snapshot_of, walk

ACTION = "long(1%risk@10x,sl=2%,rr=3)"
FIRED = range(9, 160, 20)
"""Candles on which the condition held."""


def talkative_market() -> ChartMarket:
    """Return 160 candles with position, trades, log, and a script's words on all of them."""
    candles = walk(160)
    trail = ScriptTrail()
    for place in range(len(candles)):
        candle = candles.candle(place)
        has_fired = place in FIRED
        result = ScriptResult(
            condition=has_fired,
            action=ACTION if has_fired else "donothing",
            plots=(
                Plot(name="middle", pane="price", value=(candle.high + candle.low) / 2),
                Plot(name="move", pane="swing", value=candle.close - candle.open),
            ),
            marks=("fired",) if has_fired else (),
            prints=(f"candle {place}\n",),
            warnings=("too few candles",) if place == 0 else (),
        )
        trail.add(candle.open_ms, result, is_forming=False)
    script = ChartScript(
        name="talkative", symbol="BTCUSDT", interval="1h", last_action=ACTION, trail=trail
    )
    return ChartMarket(
        snapshot_of(
            candles,
            script=script,
            position=long_position(candles),
            trades=round_trip(candles),
            log=tuple(line(f"line of kind {kind}", kind) for kind in LogKind),
        )
    )
