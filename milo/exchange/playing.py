"""The player: moves the market on, stores what it did to the account, and addresses the frames."""

from __future__ import annotations

from collections.abc import Callable

from milo.clock import monotonic_s
from milo.exchange.access import ListenKeys
from milo.exchange.notices import Notice
from milo.exchange.state_db import Meta, StateDb
from milo.exchange.streams import Group, StreamHub
from milo.exchange.user_frames import expired_frame, frames_of
from milo.exchange.venue import Venue
from milo.intervals import DAY_MS

_SAVE_CLOCK_EVERY_S = 1.0


class Player:
    """The one who lets time pass; everything it does is stored before it is told."""

    def __init__(
        self, venue: Venue, hub: StreamHub, store: StateDb, listen_keys: ListenKeys
    ) -> None:
        self.venue = venue
        self._hub = hub
        self._store = store
        self._listen_keys = listen_keys
        self.on_notices: Callable[[list[Notice]], None] | None = None
        """Told of what happened once it is stored, before the clients are."""
        self._saved_clock_ms = -1
        self._saved_s = 0.0
        self._forget_ms = 0

    def play_next(self, time_ms: int) -> list[Group]:
        """Play the instant and return its frames: the account's before the market's."""
        moves = self.venue.play_next(time_ms)
        if self.venue.state.changes:
            self.save()
            self._report([notice for move in moves for notice in move.notices])
        if time_ms >= self._forget_ms:  # what changed is stored by now
            self.venue.state.forget(time_ms)
            self._forget_ms = time_ms + DAY_MS
        groups: list[Group] = []
        for move in moves:
            if move.notices:
                groups += self._hub.user_groups(frames_of(move.notices, self.venue.rules))
        now_s = monotonic_s()
        for move in moves:
            groups += self._hub.market_groups(move.symbol, time_ms, now_s)
        return groups

    def settle(self) -> None:
        """After a request: store what it changed, and tell the account's listeners at once."""
        notices = self.venue.clearing.take_notices()
        if self.venue.state.changes:
            self.save()
        self._report(notices)
        for group in self._hub.user_groups(frames_of(notices, self.venue.rules)):
            group.push()
        self.venue.follow_exposure()

    def _report(self, notices: list[Notice]) -> None:
        if notices and self.on_notices is not None:
            self.on_notices(notices)

    def repeat(self) -> None:
        """Say again what quiet streams last said."""
        for group in self._hub.repeats(self.venue.now_ms, monotonic_s()):
            group.push()

    def expire_listen_key(self, safety_ms: int) -> None:
        """Say farewell where the listen key has run out."""
        expired = self._listen_keys.take_expired(safety_ms)
        if expired is None:
            return
        self.save()
        for group in self._hub.expiry_groups(expired, expired_frame(expired, self.venue.now_ms)):
            group.push()

    def save(self) -> None:
        """Store what changed, and the clock."""
        venue, state = self.venue, self.venue.state
        meta = Meta(
            identity=venue.feed.identity,
            clock_ms=venue.now_ms,
            wallet=state.wallet,
            start_balance=state.start_balance,
            start_ms=state.start_ms,
            counters=state.counters,
            listen_key=self._listen_keys.current,
            account_id=state.account_id,
        )
        self._store.save(state.take_changes(), state, meta)
        self._saved_clock_ms, self._saved_s = venue.now_ms, monotonic_s()

    def save_clock(self) -> None:
        """Store the clock now and then, so that a killed exchange knows about where it was."""
        is_due = monotonic_s() - self._saved_s >= _SAVE_CLOCK_EVERY_S
        if is_due and self.venue.now_ms != self._saved_clock_ms:
            self.save()
