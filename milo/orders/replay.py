"""Feed a recorded run through the core again. Pure.

The events, the times and the configuration of the record go in; the commands that come out must be
those of the record, byte for byte. The book at the end is where a new run goes on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from milo.commands import Command, RecordTrade, Trade
from milo.errors import StoreError
from milo.inbox import CoreEvent
from milo.orders.book import Book, CoreConfig
from milo.orders.codec import (
    BOOK,
    CHECKPOINT,
    COMMAND,
    CONFIG,
    EVENT,
    command_kind,
    decoded,
    encoded,
)
from milo.orders.step import step

Entry = tuple[int, int, str, str]
"""(seq, time_ms, kind, JSON body) of a journal entry."""

_TOLD = 20
"""So many differences are kept; the rest is counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Where the core gave other commands than the record has."""

    seq: int
    """Of the event."""
    event_kind: str
    recorded: tuple[str, ...]
    """Each `kind body`."""
    given: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """What came of a replay."""

    book: Book
    rows: tuple[Trade, ...]
    """Closed rows of the run, as recorded."""
    events: int
    commands: int
    differing: int
    differences: tuple[Difference, ...]
    """The first ones."""


def replay(entries: Iterable[Entry]) -> Replayed:
    """Return the book after the last event, and how the commands compare with the record.

    Raises StoreError where the record cannot be read, or was made before runs could be replayed.
    """
    book, config, rest = _start_of(iter(entries))
    events = commands = differing = 0
    differences: list[Difference] = []
    rows: list[Trade] = []
    for (seq, time_ms, kind, body), recorded in _turns(rest):
        if kind == CHECKPOINT:
            if decoded(kind, body) != book:
                differing += 1
                differences.append(
                    Difference(seq=seq, event_kind=kind, recorded=(body,), given=(encoded(book),))
                )
            continue
        event: CoreEvent = decoded(kind, body)
        book, given = step(book, event, time_ms, config)
        events += 1
        commands += len(recorded)
        lines = tuple(f"{command_kind(command)} {encoded(command)}" for command in given)
        rows += [command.trade for command in _trades(recorded)]
        if lines != recorded:
            differing += 1
            if differing <= _TOLD:
                differences.append(
                    Difference(seq=seq, event_kind=kind, recorded=recorded, given=lines)
                )
    return Replayed(
        book=book,
        rows=tuple(rows),
        events=events,
        commands=commands,
        differing=differing,
        differences=tuple(differences),
    )


def _start_of(entries: Iterator[Entry]) -> tuple[Book, CoreConfig, Iterator[Entry]]:
    first, second = next(entries, None), next(entries, None)
    is_start = first is not None and second is not None and first[2] == CONFIG
    if first is None or second is None or not is_start or second[2] not in (BOOK, CHECKPOINT):
        raise StoreError("the run was recorded by an earlier Milo, or ended before it began")
    return decoded(second[2], second[3]), decoded(CONFIG, first[3]), entries


def _turns(entries: Iterator[Entry]) -> Iterator[tuple[Entry, tuple[str, ...]]]:
    """Yield each event with the commands that the record has for it."""
    event: Entry | None = None
    commands: list[str] = []
    for entry in entries:
        if entry[2].startswith(f"{COMMAND}."):
            commands.append(f"{entry[2]} {entry[3]}")
            continue
        if entry[2] != CHECKPOINT and not entry[2].startswith(f"{EVENT}."):
            raise StoreError(f"entry {entry[0]} of the run is neither event nor command")
        if event is not None:
            yield event, tuple(commands)
        event, commands = entry, []
    if event is not None:
        yield event, tuple(commands)


def _trades(recorded: Iterable[str]) -> Iterator[RecordTrade]:
    prefix = f"{COMMAND}.{RecordTrade.__name__}"
    for line in recorded:
        kind, _, body = line.partition(" ")
        if kind == prefix:
            command: Command = decoded(kind, body)
            assert isinstance(command, RecordTrade)
            yield command
