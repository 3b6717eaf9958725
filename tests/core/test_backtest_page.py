"""The report as an HTML file: whole by itself, nothing from outside, names of strangers inert."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from milo.backtest.buckets import buckets_of
from milo.backtest.described import describe_market
from milo.backtest.html import report_page
from milo.backtest.page_content import MAX_TRADES, page_content
from milo.backtest.report import make_report
from milo.candles import Candles
from milo.errors import ConfigError
from tests.backtest_ledgers import (
    MINUTE_MS,
    START_MS,
    description,
    golden_report,
    hostile_report,
    ledger,
    page_of,
    trade,
    walk,
)

VOID = {"meta", "link", "br", "img", "input", "hr"}


class Page(HTMLParser):
    """The elements of a page; fails where they are not closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open:
            self.texts.setdefault(self.open[-1], []).append(data)

    def attributes(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def data_of(text: str) -> Any:
    match = re.search(r'<script type="application/json" id="report-data">(.*?)</script>', text)
    assert match is not None
    return json.loads(match[1])


def column(data: dict[str, str], name: str) -> np.ndarray[Any, Any]:
    kind = "<f8" if name.endswith("64") else "<f4"
    return np.frombuffer(base64.b64decode(data[name]), dtype=kind)


@pytest.fixture(scope="module")
def golden_page() -> str:
    return page_of(golden_report(), walk(1_210))


def test_the_page_is_whole_and_names_nothing_outside(golden_page: str) -> None:
    page = Page(golden_page)

    tags = {tag for tag, _ in page.elements}
    assert not tags & {"link", "img", "iframe", "object", "embed", "base", "form", "a", "video"}
    every = [name for _, attributes in page.elements for name in attributes]
    assert not {"src", "href", "action", "srcset", "style"} & set(every)
    assert not [name for name in every if name.startswith("on")]
    assert not re.search(r"(https?:)?//[a-z0-9-]+\.[a-z]", golden_page)
    assert not re.search(r"@import|url\(", golden_page)


def test_the_policy_lets_only_the_page_itself_run(golden_page: str) -> None:
    page = Page(golden_page)

    policy = dict(
        part.strip().split(" ", 1) for part in str(page.attributes("meta")[1]["content"]).split(";")
    )

    style = re.search(r"<style>(.*?)</style>", golden_page, re.DOTALL)
    script = re.search(r"<script>(.*?)</script>", golden_page, re.DOTALL)
    assert style is not None
    assert script is not None
    assert policy["default-src"] == "'none'"
    assert policy["style-src"] == hash_of(style[1])
    assert policy["script-src"] == hash_of(script[1])
    assert policy["require-trusted-types-for"] == "'script'"
    assert len(page.attributes("script")) == 2


def hash_of(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def test_names_of_strangers_are_text() -> None:
    text = page_of(*hostile_report())

    page = Page(text)

    assert len(page.attributes("script")) == 2
    assert page.attributes("img") == []
    assert "\u202e" not in text
    assert "".join(page.texts["title"]).count("alert(1)") == 2  # script and symbol
    assert "<img" not in text.replace("&lt;img", "")
    assert data_of(text)["symbols"][0].startswith("</script></title>")


def test_the_page_shows_the_headline_numbers_without_its_script(golden_page: str) -> None:
    shown = " ".join(text for texts in Page(golden_page).texts.values() for text in texts)

    report = golden_report()
    assert f"{report.stats.final_equity:,.2f} USDT" in shown
    assert report.description.markets[0].sha256 in shown
    assert "decided on arrays; 421 of 1,200" not in shown  # 1,210 were decided
    assert "decided on arrays; 421 of 1,210 candles run one by one" in shown
    for reason in report.realism.reasons:
        assert reason.split(": ")[0] in shown
    assert "limits" in shown


def test_the_data_are_those_of_the_ledger(golden_page: str) -> None:
    report = golden_report()

    data = data_of(golden_page)

    assert column(data["equity"], "last") == pytest.approx(report.ledger.equity, rel=1e-6)
    assert column(data["equity"], "time64").tolist() == report.ledger.times_ms.tolist()
    nets = [float(item.net) for item in report.ledger.trades]
    assert column(data["trades"], "net") == pytest.approx(nets, rel=1e-6)
    entries = [float(item.entry_price) for item in report.ledger.trades]
    assert column(data["trades"], "entry64").tolist() == entries
    assert data["markets"][0]["decimals"] == 1


@pytest.mark.parametrize("count", [1, 2, 99, 100, 101, 12_345])
def test_buckets_keep_every_extreme(count: int) -> None:
    values = np.random.default_rng(count).normal(size=count)

    cut = buckets_of(count, 100)

    ends = [*cut.starts[1:].tolist(), count]
    parts = [values[start:end] for start, end in zip(cut.starts, ends, strict=True)]
    assert len(parts) <= 100
    assert cut.lowest(values).tolist() == [part.min() for part in parts]
    assert cut.highest(values).tolist() == [part.max() for part in parts]
    assert cut.first(values).tolist() == [part[0] for part in parts]
    assert cut.last(values).tolist() == [part[-1] for part in parts]


def test_no_candles_have_no_buckets() -> None:
    cut = buckets_of(0, 100)

    assert len(cut.lowest(np.empty(0))) == len(cut.last(np.empty(0))) == 0


def test_a_million_candles_and_many_trades_make_a_small_page() -> None:
    count = 1_000_000
    rng = np.random.default_rng(1)
    close = np.round(40_000 * np.exp(np.cumsum(rng.normal(0, 2e-4, count))), 1)
    open_ms = START_MS + np.arange(count, dtype=np.int64) * MINUTE_MS
    candles = Candles.from_columns(open_ms, close, close + 5, close - 5, close, close)
    market = describe_market(candles, symbol="BTCUSDT", interval="1m")
    told = dataclasses.replace(description(walk(10)), markets=(market,))
    book = ledger((trade("1.25"),) * (MAX_TRADES + 5_000))
    book = dataclasses.replace(
        book, times_ms=open_ms + MINUTE_MS - 1, equity=close / 4, exposed=close > 0
    )

    text = page_of(make_report(book, told), candles)

    assert len(text) < 3_000_000
    data = data_of(text)
    assert data["tradesBefore"] == 5_000
    assert len(column(data["trades"], "net")) == MAX_TRADES
    assert column(data["markets"][0]["columns"], "high").max() == pytest.approx(close.max() + 5)
    assert column(data["equity"], "low").min() == pytest.approx(close.min() / 4)


def test_an_empty_run_has_a_page() -> None:
    report = make_report(ledger(), description(walk(10)))

    text = page_of(report, walk(10))

    assert "No trade was closed" in text
    assert "NaN" not in text.split("<script>")[0]


def test_a_market_without_candles_is_not_drawn() -> None:
    assert page_content(golden_report(), {})["markets"] == []


def test_missing_page_files_are_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read the report's files"):
        report_page(golden_report(), {}, static_folder=tmp_path)
