"""The stream hub: who has subscribed to what, and what goes to whom."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec

from milo.exchange.access import ListenKeys
from milo.exchange.connections import PRIVATE, UNROUTED, Connection, Delivery
from milo.exchange.market_frames import PUBLIC, Source, combined, source_of
from milo.exchange.user_frames import UserFrame
from milo.exchange.venue import Venue

MOST_STREAMS = 1_024

_REPEAT_S = 2.0
_REPEAT_MARK_PRICE_S = {"markPrice": 3.0, "markPrice@1s": 1.0}


class Group(NamedTuple):
    """Frames of one moment to one connection."""

    connection: Connection
    deliveries: list[Delivery]

    def push(self) -> None:
        for delivery in self.deliveries:
            self.connection.push(delivery)


class _Subscribed:
    """A stream that carries something, and its subscribers in the order in which they came."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.connections: dict[Connection, None] = {}
        self.sent_s = 0.0
        kind = source.name.partition("@")[2]
        self.repeat_s = _REPEAT_MARK_PRICE_S.get(kind, _REPEAT_S)


class Disturbance:
    """What befalls the streams for a while; nothing, as it is made."""

    def __init__(self) -> None:
        self.is_silent = False
        """The account's events are lost."""
        self.is_doubled = False
        """The account's events are sent twice."""
        self.is_held = False
        """The account's events wait in `held`."""
        self.held: list[Group] = []
        self.refuses = False
        """No stream can be opened."""


class StreamHub:
    """All connections and their subscriptions."""

    def __init__(self, venue: Venue, listen_keys: ListenKeys) -> None:
        self._venue = venue
        self._listen_keys = listen_keys
        self._streams: dict[str, _Subscribed] = {}
        self._by_symbol: dict[str, list[_Subscribed]] = {}
        self._has_labelled_stream = False
        self.disturbance = Disturbance()
        self.is_market_silent = False
        """True while the market's frames are lost: by a fault."""
        self.connections: dict[Connection, None] = {}
        self.labelled: list[Connection] = []

    # --- connections --------------------------------------------------------------------------

    def add(self, connection: Connection) -> None:
        self.connections[connection] = None
        self._note_labels()

    def drop(self, connection: Connection) -> None:
        """Forget a connection that is closed."""
        self.connections.pop(connection, None)
        self._note_labels()
        self.unsubscribe(connection, list(connection.streams))

    def _note_labels(self) -> None:
        self.labelled = [connection for connection in self.connections if connection.label]

    # --- subscriptions ------------------------------------------------------------------------

    def subscribe(self, connection: Connection, names: Iterable[str]) -> None:
        """Subscribe to streams and listen keys by name; unknown ones stay silent for ever."""
        for name in names:
            if name in connection.streams:
                continue
            connection.streams[name] = None
            if self._is_user_name(connection, name):
                continue
            subscribed = self._streams.get(name) or self._open(name)
            if subscribed is not None and _carries(connection.root, subscribed.source.root):
                subscribed.connections[connection] = None
        self._prune()

    def unsubscribe(self, connection: Connection, names: Iterable[str]) -> None:
        """End subscriptions; names that were not subscribed are ignored."""
        for name in names:
            if name not in connection.streams:
                continue
            del connection.streams[name]
            connection.user_events.pop(name.partition("@")[0], None)
            subscribed = self._streams.get(name)
            if subscribed is not None:
                subscribed.connections.pop(connection, None)
        self._prune()

    def follow_account(
        self, connection: Connection, listen_key: str, events: frozenset[str]
    ) -> None:
        """Send the account's events to a connection that came with a listen key."""
        wanted = connection.user_events.get(listen_key)
        is_all = not events or wanted == frozenset()
        connection.user_events[listen_key] = (
            frozenset() if is_all else events | (wanted or frozenset())
        )

    def _is_user_name(self, connection: Connection, name: str) -> bool:
        """Take `<listenKey>` and `<listenKey>@<event>` as the user stream, where it may run."""
        listen_key, _, event = name.partition("@")
        if listen_key != self._listen_keys.current:
            return False
        if connection.root in (UNROUTED, PRIVATE):
            self.follow_account(connection, listen_key, frozenset([event] if event else []))
        return True

    def _open(self, name: str) -> _Subscribed | None:
        source = source_of(self._venue, name)
        if source is None:
            return None
        subscribed = self._streams[name] = _Subscribed(source)
        self._by_symbol.setdefault(source.symbol, []).append(subscribed)
        return subscribed

    def _prune(self) -> None:
        """Forget streams without subscribers, and have the rest played."""
        for name in [n for n, subscribed in self._streams.items() if not subscribed.connections]:
            subscribed = self._streams.pop(name)
            self._by_symbol[subscribed.source.symbol].remove(subscribed)
        self._by_symbol = {symbol: list_ for symbol, list_ in self._by_symbol.items() if list_}
        self._has_labelled_stream = any(
            connection.label
            for subscribed in self._streams.values()
            for connection in subscribed.connections
        )
        self._venue.watch(self._by_symbol)

    # --- what goes to whom --------------------------------------------------------------------

    def market_groups(self, symbol: str, time_ms: int, now_s: float) -> list[Group]:
        """Return the frames that the symbol's newest point means, by connection."""
        groups: dict[Connection, Group] = {}
        for subscribed in self._by_symbol.get(symbol, ()):
            self._collect(groups, subscribed, time_ms, now_s)
        if self.is_market_silent:
            return []
        if len(groups) < 2:
            return list(groups.values())
        return sorted(groups.values(), key=lambda group: group.connection.number)

    def repeats(self, time_ms: int, now_s: float) -> list[Group]:
        """Return frames of streams that said nothing for a while, as a quiet real market does."""
        groups: dict[Connection, Group] = {}
        for subscribed in self._streams.values():
            if now_s - subscribed.sent_s >= subscribed.repeat_s:
                self._collect(groups, subscribed, time_ms, now_s)
        return [] if self.is_market_silent else list(groups.values())

    def _collect(
        self, groups: dict[Connection, Group], subscribed: _Subscribed, time_ms: int, now_s: float
    ) -> None:
        subscribed.sent_s = now_s
        name = subscribed.source.name
        for text, is_final in subscribed.source.frames(time_ms):
            for connection in subscribed.connections:
                wrapped = combined(name, text) if connection.is_combined else text
                group = groups.get(connection)
                if group is None:
                    group = groups[connection] = Group(connection, [])
                group.deliveries.append(Delivery(wrapped, name, is_final))

    def user_groups(self, frames: list[UserFrame]) -> list[Group]:
        """Return the account's events by connection; a listen key that has ended is mute."""
        listen_key = self._listen_keys.current
        if listen_key is None or not frames:
            return []
        return self._to_account(listen_key, frames)

    def expiry_groups(self, listen_key: str, frame: UserFrame) -> list[Group]:
        """Return the farewell to who still listens with a key that has just ended."""
        return self._to_account(listen_key, [frame])

    def _to_account(self, listen_key: str, frames: list[UserFrame]) -> list[Group]:
        disturbance = self.disturbance
        if disturbance.is_silent:
            return []
        groups = []
        for connection in self.connections:
            events = connection.user_events.get(listen_key)
            if events is None:
                continue
            deliveries = [
                Delivery(
                    combined(listen_key, frame.text) if connection.is_combined else frame.text,
                    "",
                    is_final=True,
                )
                for frame in frames
                if not events or frame.name in events
            ]
            if disturbance.is_doubled:
                deliveries = [delivery for delivery in deliveries for _ in range(2)]
            if deliveries:
                groups.append(Group(connection, deliveries))
        if disturbance.is_held:
            disturbance.held += groups
            return []
        return groups

    def has_labelled_interest(self) -> bool:
        """Return whether playing on could bring anything to a connection of the engine."""
        if self._has_labelled_stream:
            return True
        key = self._listen_keys.current
        has_ears = any(key in connection.user_events for connection in self.labelled)
        return has_ears and bool(self._venue.state.exposed_symbols())


# --- messages from clients --------------------------------------------------------------------


class _Request(msgspec.Struct):
    method: str
    id: Any = None
    params: Any = None


_REQUEST = msgspec.json.Decoder(_Request)


def reply_to(hub: StreamHub, connection: Connection, text: str) -> str:
    """Carry out a client's message and return the reply's text."""
    try:
        request = _REQUEST.decode(text)
    except msgspec.ValidationError as error:
        return _error(2, f"Invalid request: {error}", None)
    except msgspec.DecodeError as error:
        return _error(3, f"Invalid JSON: {error}", None)
    number = request.id
    if not isinstance(number, int) or isinstance(number, bool) or number < 0:
        return _error(2, "Invalid request: id must be an unsigned integer", None)
    match request.method:
        case "SUBSCRIBE" | "UNSUBSCRIBE":
            return _change(hub, connection, request)
        case "LIST_SUBSCRIPTIONS":
            return _result(list(connection.streams), number)
        case "SET_PROPERTY":
            return _set_property(connection, request)
        case "GET_PROPERTY":
            return _result(connection.is_combined, number)
    return _error(2, f"Invalid request: unknown method {request.method!r}", number)


def _change(hub: StreamHub, connection: Connection, request: _Request) -> str:
    names = request.params
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return _error(2, "Invalid request: params must be a list of stream names", request.id)
    if request.method == "UNSUBSCRIBE":
        hub.unsubscribe(connection, names)
        return _result(None, request.id)
    if len(connection.streams.keys() | set(names)) > MOST_STREAMS:
        return _error(4, f"Too many streams: at most {MOST_STREAMS} a connection", request.id)
    hub.subscribe(connection, names)
    return _result(None, request.id)


def _set_property(connection: Connection, request: _Request) -> str:
    match request.params:
        case ["combined", bool() as is_combined]:
            connection.is_combined = is_combined
            return _result(None, request.id)
    return _error(2, "Invalid request: the only property is combined, true or false", request.id)


def _result(value: Any, number: int) -> str:
    return msgspec.json.encode({"result": value, "id": number}).decode()


def _error(code: int, text: str, number: int | None) -> str:
    return msgspec.json.encode({"error": {"code": code, "msg": text}, "id": number}).decode()


def _carries(connection_root: str, stream_root: str) -> bool:
    """Return whether an entry point carries a stream; the unrouted one only public streams."""
    return connection_root == stream_root or (connection_root == UNROUTED and stream_root == PUBLIC)
