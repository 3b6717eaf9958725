"""docs/scripts.md lists every name of the language, and its first script runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from milo.intervals import INTERVALS
from milo.script.actions import parse_action
from milo.script.vocabulary import (
    ATTRIBUTES,
    BUILTINS,
    EXCEPTIONS,
    FUNCTIONS,
    MARKET_NAMES,
    MODULES,
)
from tests.script_runs import run


@pytest.fixture(scope="module")
def page(project_dir: Path) -> str:
    return (project_dir / "docs" / "scripts.md").read_text(encoding="utf-8")


def test_page_lists_every_name_of_the_language(page: str) -> None:
    listed = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`\n]+)`", page))))
    shown = listed | set(re.findall(r"\w+", " ".join(re.findall(r"```.*?```", page, re.DOTALL))))
    names = BUILTINS | EXCEPTIONS | ATTRIBUTES | MARKET_NAMES | FUNCTIONS

    assert names.union(*MODULES.values()) - shown == set()
    assert set(INTERVALS) - set(re.findall(r"\w+", page)) == set()


def test_first_script_runs(page: str) -> None:
    text = re.findall(r"```python\n(timeframe.*?)```", page, re.DOTALL)[0]

    found = run(text)

    assert found.printed.startswith("RSI ")


def test_shown_actions_are_read(page: str) -> None:
    block = re.findall(r"```\n(donothing.*?)```", page, re.DOTALL)[0]
    actions = [action for line in block.splitlines() for action in re.split(r" {2,}", line)]

    assert len(actions) == 6
    for action in actions:
        parse_action(action)
