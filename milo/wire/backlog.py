"""What waits between the streams and their consumer: bounded, in order, counted (layer 1).

When it is full, forming candles and prices give way to newer ones of their stream, and ignored
messages to anything. Closed candles and the account's events are kept even beyond the bound; a
StreamReset then says that the consumer has fallen behind and has to read the truth from REST.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass

from milo.events import (
    BookTickerEvent,
    IgnoredEvent,
    KlineEvent,
    MarkPriceEvent,
    StreamEvent,
    StreamReset,
)

_Key = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamItem:
    """An event and the connection that it came by."""

    connection: str
    event: StreamEvent
    is_frame: bool = True
    """False for what no frame brought: such items are not counted."""


@dataclass(slots=True, kw_only=True)
class _Line:
    """A live connection: what it carries, and how many text frames came and were consumed."""

    route: str
    arrived: int = 0
    consumed: int = 0


class Backlog:
    """A queue of stream items; not thread-safe by itself. A dropped frame counts as consumed."""

    def __init__(self, size: int) -> None:
        if size < 1:
            raise ValueError(f"a backlog holds at least one item: {size}")
        self._size = size
        self._items: OrderedDict[int, tuple[StreamItem, _Key | None]] = OrderedDict()
        self._replaceable: dict[_Key, deque[int]] = {}
        self._serial = 0
        self._lines: dict[str, _Line] = {}
        self._is_behind = False
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._items)

    def open(self, connection: str, route: str) -> None:
        """Start to count a connection's frames."""
        self._lines[connection] = _Line(route=route)

    def close(self, connection: str) -> None:
        """Forget a connection's counts; what it brought stays."""
        self._lines.pop(connection, None)

    def arrived(self) -> dict[str, int]:
        return {connection: line.arrived for connection, line in self._lines.items()}

    def consumed(self) -> dict[str, int]:
        return {connection: line.consumed for connection, line in self._lines.items()}

    def consume(self, item: StreamItem) -> None:
        """Count an item that was taken as consumed; one of a connection that is gone is not."""
        line = self._lines.get(item.connection)
        if line is not None and item.is_frame:
            line.consumed += 1

    def put(self, item: StreamItem) -> None:
        """Add an item as the newest; what has to give way is chosen as the module says."""
        line = self._lines.get(item.connection)
        if line is not None and item.is_frame:
            line.arrived += 1
        key = _key_of(item.event)
        if len(self._items) < self._size or self._make_room(key):
            self._append(item, key)
        elif key is not None:
            self._dropped(item)
        else:
            self._append(item, key)
            self._announce_overflow(item, line)

    def take(self) -> StreamItem | None:
        """Remove and return the oldest item; None where nothing waits."""
        if not self._items:
            return None
        _, (item, key) = self._items.popitem(last=False)
        if key is not None:
            self._forget_oldest(key)
        if not self._items:
            self._is_behind = False
        return item

    def _append(self, item: StreamItem, key: _Key | None) -> None:
        self._serial += 1
        self._items[self._serial] = (item, key)
        if key is not None:
            self._replaceable.setdefault(key, deque()).append(self._serial)

    def _make_room(self, key: _Key | None) -> bool:
        """Drop the oldest item of this stream, else the oldest of any that may be dropped."""
        if key is None or key not in self._replaceable:
            serials = min(self._replaceable.values(), key=lambda found: found[0], default=None)
        else:
            serials = self._replaceable[key]
        if serials is None:
            return False
        item, found = self._items.pop(serials[0])
        assert found is not None
        self._forget_oldest(found)
        self._dropped(item)
        return True

    def _forget_oldest(self, key: _Key) -> None:
        serials = self._replaceable[key]
        serials.popleft()
        if not serials:
            del self._replaceable[key]

    def _dropped(self, item: StreamItem) -> None:
        self.dropped += 1
        self.consume(item)

    def _announce_overflow(self, item: StreamItem, line: _Line | None) -> None:
        # Once, until the consumer has caught up: the account must not be read for every event.
        if not self._is_behind and line is not None:
            self._is_behind = True
            reset = StreamReset(route=line.route, reason="the consumer fell behind")
            self._append(StreamItem(connection=item.connection, event=reset, is_frame=False), None)


def _key_of(event: StreamEvent) -> _Key | None:
    """Return the stream whose newer items replace this one; None where it must not be lost."""
    match event:
        case KlineEvent(is_closed=False):
            return (event.symbol, event.interval)
        case MarkPriceEvent():
            return (event.symbol, "mark")
        case BookTickerEvent():
            return (event.symbol, "book")
        case IgnoredEvent():
            return ("", "ignored")
        case _:
            return None
