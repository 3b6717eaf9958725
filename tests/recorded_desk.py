"""A desk whose core's work is recorded as the journal keeps it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from milo.orders.codec import BOOK, CHECKPOINT, CONFIG, command_kind, encoded, event_kind
from milo.orders.step import step
from tests import order_desk

Entry = tuple[int, int, str, str]


@contextmanager
def recording(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Entry]]:
    """Record every step of desks that are made inside."""
    entries: list[Entry] = []

    def add(now_ms: int, kind: str, item: Any) -> None:
        entries.append((len(entries) + 1, now_ms, kind, encoded(item)))

    def recorded(book: Any, event: Any, now_ms: int, config: Any) -> Any:
        if not entries:
            add(now_ms, CONFIG, config)
            add(now_ms, BOOK, book)
        after, commands = step(book, event, now_ms, config)
        add(now_ms, event_kind(event), event)
        for command in commands:
            add(now_ms, command_kind(command), command)
        if len(entries) % 50 == 0:
            add(now_ms, CHECKPOINT, after)
        return after, commands

    with monkeypatch.context() as patch:
        patch.setattr(order_desk, "step", recorded)
        yield entries
