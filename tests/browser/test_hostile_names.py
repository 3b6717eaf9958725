"""Hostile names in the page as a real browser builds it: needs a Chromium, and no Playwright."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from milo.charts.snapshot import ChartScript
from tests.browser.conftest import FLAGS, ServedChart, _browser_path, _is_root, _missing
from tests.chart_market import HOSTILE_TEXT, ChartMarket, line, snapshot_of, walk


def test_every_name_and_line_of_strangers_ends_as_text_in_the_document(tmp_path: Path) -> None:
    path = _browser_path()
    if path is None:
        _missing("no chromium (or BROWSER_BIN names none): browser tests not run")
    market = ChartMarket(snapshot_of(walk(160)))
    market.change(
        symbol=HOSTILE_TEXT,
        symbols=(HOSTILE_TEXT, "BTCUSDT"),
        intervals=(HOSTILE_TEXT, "1h"),
        venue=HOSTILE_TEXT,
        title=HOSTILE_TEXT,
        is_simulated=False,
        script=ChartScript(
            name=HOSTILE_TEXT,
            symbol=HOSTILE_TEXT,
            interval="1h",
            last_action=HOSTILE_TEXT,
            last_condition=True,
        ),
        log=(line(HOSTILE_TEXT),),
        alert=HOSTILE_TEXT,
    )
    chart = ServedChart(market)
    try:
        document = dumped(str(path), chart.url, tmp_path / "profile")
    finally:
        chart.stop()

    assert 'data-phase="chart"' in document
    assert document.count("&lt;img src=x") >= 8
    assert "<img" not in document
    assert re.findall(r"<script[^>]*>", document) == [
        '<script type="module" src="/static/chart.js">'
    ]
    assert "<title>owned" not in document


def dumped(browser: str, url: str, profile: Path) -> str:
    """Return the document of a page as it is after three seconds of the browser's own clock."""
    sandbox = ["--no-sandbox"] if _is_root() else []
    done = subprocess.run(
        [
            browser, "--headless", *FLAGS, *sandbox, f"--user-data-dir={profile}",
            "--virtual-time-budget=3000", "--dump-dom", url,
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )  # fmt: skip
    return done.stdout
