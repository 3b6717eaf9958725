"""What a script said, candle by candle, and how pages hear of it."""

from __future__ import annotations

import json
import random
from typing import Any

from milo.charts.history import HistoryRequest, history_body
from milo.charts.live import LiveFeed
from milo.charts.snapshot import ChartScript
from milo.charts.trail import MOST_KEPT, ScriptTrail
from milo.charts.views import SeriesViews
from milo.model import Plot, ScriptResult
from tests.chart_market import HOSTILE_TEXT, HOUR_MS, START_MS, after, snapshot_of, walk


def words(number: float, text: str = "hello") -> ScriptResult:
    return ScriptResult(
        condition=number > 0,
        action="donothing",
        prints=(text,),
        plots=(Plot(name="line", pane="own", value=number),),
        marks=(text,),
    )


def test_forming_words_are_replaced_and_closed_ones_stay() -> None:
    trail = ScriptTrail()
    trail.add(1, words(1.0), is_forming=False)
    trail.add(2, words(2.0), is_forming=True)
    trail.add(2, words(3.0), is_forming=True)
    trail.add(2, words(4.0), is_forming=False)

    first, said = trail.since(0)

    assert first == 0
    assert [(item.open_ms, item.result.plots[0].value) for item in said] == [(1, 1.0), (2, 4.0)]
    assert len(trail) == 2
    assert [item.open_ms for item in trail.between(2, 9)] == [2]


def test_old_words_are_forgotten_and_places_stay() -> None:
    trail = ScriptTrail()
    for number in range(MOST_KEPT * 2):
        trail.add(number, words(1.0), is_forming=False)

    first, said = trail.since(0)

    assert MOST_KEPT <= len(said) <= MOST_KEPT + 2_000
    assert said[0].open_ms == first
    assert first + len(said) == len(trail) == MOST_KEPT * 2
    assert trail.since(len(trail) - 1)[1][0].open_ms == len(trail) - 1


def heard(trail: ScriptTrail, seed: int) -> tuple[dict[int, Any], dict[int, Any]]:
    """Return what a page that looks now and then has heard, and what a new page hears."""
    chance = random.Random(seed)
    candles = walk(30)
    views = SeriesViews("run")
    script = ChartScript(name="s", symbol="BTCUSDT", interval="1h", trail=trail)
    page: dict[int, Any] = {}
    feed = LiveFeed()

    def look(feed: LiveFeed, known: dict[int, Any], now_ms: int) -> None:
        snapshot = snapshot_of(candles, script=script)
        view = views.of(snapshot)
        text = feed.message(snapshot, view, now_ms)
        message = json.loads(text or b"{}")
        if message.get("reload"):
            body = history_body(view, HistoryRequest(), trail)
            header = json.loads(body[4 : 4 + int.from_bytes(body[:4], "little")])
            known.update({item["openMs"]: item for item in header["said"]})
        known.update({item["openMs"]: item for item in message.get("said", [])})

    for step in range(80):
        forming = after(candles, 30_000.0 + step)
        for _ in range(chance.randint(0, 2)):
            trail.add(forming.open_ms, words(chance.random()), is_forming=True)
        if chance.random() < 0.6:
            candles = candles.appended(forming)
            trail.add(forming.open_ms, words(float(step)), is_forming=False)
        if chance.random() < 0.4:
            look(feed, page, step)
    look(feed, page, 100_000)
    fresh: dict[int, Any] = {}
    look(LiveFeed(), fresh, 0)
    return page, fresh


def test_a_page_has_heard_what_a_new_page_hears() -> None:
    for seed in range(10):
        page, fresh = heard(ScriptTrail(), seed)
        assert page == fresh
        assert len(page) > 20


def test_words_are_told_as_text_and_cut() -> None:
    trail = ScriptTrail()
    trail.add(START_MS + HOUR_MS, words(1.0, HOSTILE_TEXT + "x" * 5_000), is_forming=False)
    snapshot = snapshot_of(
        walk(3), script=ChartScript(name="s", symbol="B", interval="1h", trail=trail)
    )

    body = history_body(SeriesViews("r").of(snapshot), HistoryRequest(), trail)

    header = json.loads(body[4 : 4 + int.from_bytes(body[:4], "little")])
    (said,) = header["said"]
    assert said["marks"][0].startswith(HOSTILE_TEXT)
    assert len(said["marks"][0]) < 2_100
    assert said["plots"] == [["line", "own", 1.0]]
