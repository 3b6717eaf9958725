"""A backtest's page as a real browser builds it from a file: needs a Chromium, no Playwright."""

from __future__ import annotations

import dataclasses
import re
import subprocess
from pathlib import Path

import pytest

from milo.backtest.html import report_page
from milo.backtest.report import make_report
from tests.backtest_ledgers import (
    description,
    golden_report,
    hostile_report,
    ledger,
    page_of,
    walk,
)
from tests.browser.conftest import FLAGS, _browser_path, _is_root, _missing


@pytest.fixture
def chromium() -> str:
    path = _browser_path()
    if path is None:
        _missing("no chromium (or BROWSER_BIN names none): browser tests not run")
    return str(path)


def visited(chromium: str, text: str, folder: Path) -> tuple[str, list[str]]:
    """Return the document three seconds after it was opened, and what its console said."""
    file = folder / "report.html"
    file.write_text(text, encoding="utf-8")
    sandbox = ["--no-sandbox"] if _is_root() else []
    done = subprocess.run(
        [
            chromium, "--headless", *FLAGS, *sandbox, f"--user-data-dir={folder / 'profile'}",
            "--enable-logging=stderr", "--virtual-time-budget=3000", "--dump-dom", file.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )  # fmt: skip
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def test_the_page_draws_itself_and_lists_its_trades(chromium: str, tmp_path: Path) -> None:
    report = golden_report()

    document, said = visited(chromium, page_of(report, walk(1_210)), tmp_path)

    assert said == []
    assert 'data-phase="ready"' in document
    assert f'data-trades="{len(report.ledger.trades)}"' in document
    rows = re.search(r'<tbody id="trade-body">(.*?)</tbody>', document, re.DOTALL)
    assert rows is not None
    assert rows[1].count("<tr") == len(report.ledger.trades)
    assert "equity" in document.split('id="equity-legend"')[1][:200]
    assert re.search(r'<canvas aria-hidden="true" width="\d{3,}"', document)


def test_names_of_strangers_are_inert_in_a_browser(chromium: str, tmp_path: Path) -> None:
    document, said = visited(chromium, page_of(*hostile_report()), tmp_path)

    assert said == []
    assert 'data-phase="ready"' in document
    assert document.count("&lt;img src=//x") >= 8
    assert "<img" not in document
    assert len(re.findall(r"<script[ >]", document)) == 2


def test_code_that_the_policy_does_not_name_does_not_run(chromium: str, tmp_path: Path) -> None:
    text = page_of(golden_report(), walk(1_210))
    added = "<script>document.title = 'owned'</script><img src='x' onerror='document.title = 1'>"

    document, said = visited(chromium, text.replace("</body>", f"{added}</body>"), tmp_path)

    assert "<title>owned" not in document
    assert "<title>1" not in document
    assert any("Content Security Policy" in line for line in said)


@pytest.mark.parametrize("has_candles", [True, False])
def test_an_empty_run_opens_without_complaint(
    chromium: str, tmp_path: Path, has_candles: bool
) -> None:
    candles = walk(10)
    told = description(candles)
    if not has_candles:
        told = dataclasses.replace(told, markets=())
    report = make_report(ledger(), told)

    document, said = visited(chromium, report_page(report, {("BTCUSDT", "1h"): candles}), tmp_path)

    assert said == []
    assert 'data-phase="ready"' in document


def test_prices_that_end_before_the_run_stand_under_their_own_time(
    chromium: str, tmp_path: Path
) -> None:
    whole, _ = visited(chromium, page_of(golden_report(), walk(1_210)), tmp_path)
    short, said = visited(chromium, page_of(golden_report(), walk(600)), tmp_path)

    assert said == []
    assert legend_time(whole, "price") == legend_time(whole, "equity")
    assert legend_time(short, "equity") == legend_time(whole, "equity")
    assert legend_time(short, "price") == "25 Jan 2024 23:00"


def legend_time(document: str, which: str) -> str:
    found = re.search(rf'id="{which}-legend"[^>]*>(.*?)   ', document)
    assert found is not None
    return found[1]
