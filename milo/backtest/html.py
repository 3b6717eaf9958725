"""The report of a backtest as one HTML file that needs nothing but itself.

It holds its style, its JavaScript and its data, and forbids the browser everything else: nothing is
fetched, and no code runs but the one whose hash the policy names.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from hashlib import sha256
from html import escape
from pathlib import Path
from typing import Final

from milo.backtest.page import page_body, page_title
from milo.backtest.page_content import page_content
from milo.backtest.sweep_page import sweep_body
from milo.backtest.sweep_text import Sweep
from milo.backtest.wording import Report
from milo.candles import Candles
from milo.charts.modules import import_order, wrapped
from milo.errors import ConfigError
from milo.shown import shown_line

STATIC_FOLDER: Final = Path(__file__).resolve().parents[2] / "static"
STYLES: Final = ("css/base.css", "css/report.css")
ENTRY: Final = "report/report.js"


def report_page(
    report: Report,
    candles: Mapping[tuple[str, str], Candles],
    *,
    static_folder: Path = STATIC_FOLDER,
) -> str:
    """Return the whole page; `candles` by symbol and interval, the decided range or more.

    Raises ConfigError where a file of the page's code cannot be read.
    """
    try:
        style, script = _style(static_folder), _script(static_folder)
    except OSError as error:
        raise ConfigError(f"cannot read the report's files in {static_folder}: {error}") from error
    body = (
        f"{page_body(report)}\n"
        f'<script type="application/json" id="report-data">{_data(report, candles)}</script>\n'
        f"<script>{script}</script>"
    )
    policy = (
        f"script-src {_hash_of(script)}",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
    return _document(f"{page_title(report)} - Milo backtest", style, body, policy)


def sweep_page(found: Sweep, *, static_folder: Path = STATIC_FOLDER) -> str:
    """Return the page of a sweep, which has no JavaScript at all.

    Raises ConfigError where its style cannot be read.
    """
    try:
        style = _style(static_folder)
    except OSError as error:
        raise ConfigError(f"cannot read the report's files in {static_folder}: {error}") from error
    return _document(f"{shown_line(found.title)} - Milo sweep", style, sweep_body(found), ())


def _style(folder: Path) -> str:
    return "\n".join((folder / name).read_text("utf-8") for name in STYLES)


def _document(title: str, style: str, body: str, rules: Sequence[str]) -> str:
    """Return a page that may use its own style, what `rules` allow, and nothing else."""
    policy = "; ".join(
        (
            "default-src 'none'",
            f"style-src {_hash_of(style)}",
            "base-uri 'none'",
            "form-action 'none'",
            *rules,
        )
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(title)}</title>\n"
        f"<style>{style}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _hash_of(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


def _data(report: Report, candles: Mapping[tuple[str, str], Candles]) -> str:
    """Return the data as ASCII in which no `<` can end the element that it stands in."""
    text = json.dumps(page_content(report, candles), separators=(",", ":"), allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _script(folder: Path) -> str:
    """Return the page's module and all that it imports as one classic script."""
    texts = {
        path.relative_to(folder).as_posix(): path.read_text("utf-8")
        for path in sorted(folder.rglob("*.js"))
    }
    body = wrapped(texts, import_order(texts, ENTRY), "./")
    return f'"use strict";\nconst $modules = {{}};\n{body}'
