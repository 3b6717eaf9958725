"""The core's events, commands and books as JSON, for the journal; both ways and without loss. Pure.

The same value gives the same bytes, so that a replayed run can be compared with its record.
"""

from __future__ import annotations

from typing import Any, get_args

import msgspec

from milo.commands import Command
from milo.errors import StoreError
from milo.inbox import CoreEvent
from milo.orders.book import Book, CoreConfig

EVENT = "event"
COMMAND = "command"
BOOK = "start.Book"
CONFIG = "start.CoreConfig"
CHECKPOINT = "checkpoint.Book"
"""Kinds of journal entries: `event.<class>` and `command.<class>`; a run starts with its
configuration and the book that it went on from, and writes its book down now and then, so that the
next one need not go through all of it."""

# Mappings keep their order, which is part of the book: orders stand in it as they were sent.
_ENCODER = msgspec.json.Encoder(decimal_format="string")
_DECODERS: dict[str, msgspec.json.Decoder[Any]] = {
    **{f"{EVENT}.{kind.__name__}": msgspec.json.Decoder(kind) for kind in get_args(CoreEvent)},
    **{f"{COMMAND}.{kind.__name__}": msgspec.json.Decoder(kind) for kind in get_args(Command)},
    BOOK: msgspec.json.Decoder(Book),
    CHECKPOINT: msgspec.json.Decoder(Book),
    CONFIG: msgspec.json.Decoder(CoreConfig),
}


def event_kind(event: CoreEvent) -> str:
    """Return the kind under which the journal keeps an event."""
    return f"{EVENT}.{type(event).__name__}"


def command_kind(command: Command) -> str:
    """Return the kind under which the journal keeps a command."""
    return f"{COMMAND}.{type(command).__name__}"


def encoded(item: CoreEvent | Command | Book | CoreConfig) -> str:
    """Return the item as JSON; decimals are texts, and mappings keep their order."""
    return _ENCODER.encode(item).decode()


def decoded(kind: str, body: str) -> Any:
    """Return the item of a journal entry. Raises StoreError where it is none that we know."""
    decoder = _DECODERS.get(kind)
    if decoder is None:
        raise StoreError(f"the journal has an entry of an unknown kind: {kind!r}")
    try:
        return decoder.decode(body)
    except msgspec.MsgspecError as error:
        raise StoreError(f"the journal has an unreadable entry ({kind}): {error}") from error
