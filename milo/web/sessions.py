"""Who has shown the chart's link or password: one-use links, browser sessions, wrong tries.

A link is printed at start. Whoever opens it first gets a cookie, and the link is spent. Programs
of this computer's user send the token of a file instead, as a bearer.
"""

from __future__ import annotations

import hmac
import secrets
from typing import Final

IDLE_S: Final = 12 * 3600.0
"""A session that asked nothing for so long is over."""
MOST_TRIES: Final = 5
PAUSE_S: Final = 30.0
"""After so many wrong tries nobody may try for so long."""
_MOST_SESSIONS: Final = 64


class Sessions:
    """The sessions of one server; times are seconds of a clock that never goes back."""

    def __init__(self, *, password: str | None = None) -> None:
        """`password`: what a login needs; without one there is only the link."""
        self._password = password
        self._link: str | None = secrets.token_urlsafe(32)
        self.bearer: Final = secrets.token_urlsafe(32)
        """What programs send as `Authorization: Bearer ...`."""
        self._used_s: dict[str, float] = {}
        self._wrong = 0
        self._closed_until_s = float("-inf")

    @property
    def link_token(self) -> str | None:
        """The token of the link that nobody has opened yet; None once it is spent."""
        return self._link

    @property
    def has_password(self) -> bool:
        return self._password is not None

    def open_link(self, token: str, now_s: float) -> str | None:
        """Return a new session for the link's token; None where it is wrong, spent or too early."""
        if not self._may_try(now_s) or self._link is None or not _same(token, self._link):
            self._count_wrong(now_s)
            return None
        self._link = None
        return self._new(now_s)

    def log_in(self, password: str, now_s: float) -> str | None:
        """Return a new session for the password; None where it is wrong or too early."""
        if (
            not self._may_try(now_s)
            or self._password is None
            or not _same(password, self._password)
        ):
            self._count_wrong(now_s)
            return None
        return self._new(now_s)

    def is_known(self, session: str | None, bearer: str | None, now_s: float) -> bool:
        """Return whether a request with this cookie or bearer belongs to somebody let in."""
        if bearer is not None and _same(bearer, self.bearer):
            return True
        used_s = None if session is None else self._used_s.get(session)
        if session is None or used_s is None:
            return False
        if now_s - used_s > IDLE_S:
            del self._used_s[session]
            return False
        self._used_s[session] = now_s
        return True

    def wait_s(self, now_s: float) -> float:
        """Return for how long nobody may try, 0 where one may."""
        return max(0.0, self._closed_until_s - now_s)

    def _may_try(self, now_s: float) -> bool:
        return now_s >= self._closed_until_s

    def _count_wrong(self, now_s: float) -> None:
        if not self._may_try(now_s):
            return
        self._wrong += 1
        if self._wrong >= MOST_TRIES:
            self._wrong = 0
            self._closed_until_s = now_s + PAUSE_S

    def _new(self, now_s: float) -> str:
        self._wrong = 0
        while len(self._used_s) >= _MOST_SESSIONS:
            del self._used_s[min(self._used_s, key=self._used_s.__getitem__)]
        session = secrets.token_urlsafe(32)
        self._used_s[session] = now_s
        return session


def _same(given: str, known: str) -> bool:
    """Compare in a time that tells nothing about where they differ."""
    # A JSON text may hold halves of pairs, which UTF-8 has no form for.
    given_bytes, known_bytes = (text.encode("utf-8", "surrogatepass") for text in (given, known))
    return hmac.compare_digest(given_bytes, known_bytes)
