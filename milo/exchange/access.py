"""Who may ask: keys, signatures, timestamps, listen keys (layer 1).

The exchange knows one key pair, made at random for its folder; no real key opens it.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from enum import Enum
from urllib.parse import parse_qsl

from milo.exchange.params import Params
from milo.exchange.quota import MINUTE_MS, Instant
from milo.exchange.refusals import ApiRefusal, invalid, missing, refusal

_API_KEY = re.compile(r"[A-Za-z0-9]{64}")
_DEFAULT_WINDOW_MS = 5_000
_LONGEST_WINDOW_MS = 60_000
_AHEAD_MS = 1_000
LISTEN_KEY_LIFE_MS = 60 * MINUTE_MS


class Security(Enum):
    """What a request must carry."""

    NONE = "none"
    KEY = "key"
    SIGNED = "signed"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPair:
    """The account's key and secret."""

    api_key: str
    api_secret: str

    def __repr__(self) -> str:
        return f"KeyPair(api_key={self.api_key[:4]}...)"


def split_signature(raw: bytes) -> tuple[bytes, str | None]:
    """Return the bytes before a last parameter `signature`, and its value; None without one."""
    head, separator, value = raw.rpartition(b"signature=")
    if not separator or b"&" in value or (head and not head.endswith(b"&")):
        return raw, None
    return head[:-1], value.decode("latin-1")


def read_params(query: bytes, body: bytes) -> Params:
    """Return the parameters of query and form body; the query wins. ApiRefusal -1100 if garbled."""
    try:
        values = dict(parse_qsl(body.decode("ascii"), keep_blank_values=True, errors="strict"))
        values |= parse_qsl(query.decode("ascii"), keep_blank_values=True, errors="strict")
    except ValueError:
        raise ApiRefusal(-1100, "Illegal characters found in a parameter.") from None
    return Params(values)


class Doorman:
    """Checks keys, signatures and timestamps."""

    def __init__(self, keys: KeyPair) -> None:
        self._keys = keys

    def check_key(self, api_key: str | None) -> None:
        """Raise 401 where the key header is absent (-2014) or not ours (-2015)."""
        if not api_key or _API_KEY.fullmatch(api_key) is None:
            raise refusal(-2014, status=401)
        if not hmac.compare_digest(api_key, self._keys.api_key):
            raise refusal(-2015, status=401)

    def check_signature(self, query: bytes, body: bytes) -> None:
        """Raise -1102 without signature, -1022 where it does not sign exactly these bytes.

        The signature must be the last parameter of the query or of the body.
        """
        signed_query, signature = split_signature(query)
        signed_body = body
        if signature is None:
            signed_body, signature = split_signature(body)
            if signature is None:
                is_elsewhere = b"signature=" in query or b"signature=" in body
                raise refusal(-1022) if is_elsewhere else missing("signature")
        expected = hmac.new(
            self._keys.api_secret.encode(), signed_query + signed_body, hashlib.sha256
        ).hexdigest()
        if not hmac.compare_digest(expected.encode(), signature.lower().encode("utf-8", "replace")):
            raise refusal(-1022)

    def check_time(self, params: Params, at: Instant) -> None:
        """Raise -1021 for a timestamp outside its window; times out in safety time only."""
        timestamp_ms = params.need_integer("timestamp")
        window_ms = params.integer("recvWindow")
        if window_ms is None:
            window_ms = _DEFAULT_WINDOW_MS
        if window_ms < 0:
            raise invalid("recvWindow")
        if window_ms > _LONGEST_WINDOW_MS:
            raise refusal(-1131)
        if not at.speed:
            return
        if timestamp_ms >= at.due_ms + _AHEAD_MS * at.speed:
            raise ApiRefusal(
                -1021,
                f"Timestamp for this request was {_AHEAD_MS}ms ahead of the server's time.",
            )
        if at.now_ms - timestamp_ms > window_ms * at.speed:
            raise ApiRefusal(-1021, "Timestamp for this request is outside of the recvWindow.")


class ListenKeys:
    """The account's listen key: one at a time, 60 minutes of safety time unless kept alive."""

    def __init__(self, keys: KeyPair) -> None:
        self._secret = keys.api_secret.encode()
        self.current: str | None = None
        self._until_ms = 0

    def open(self, number: int, safety_ms: int) -> str:
        """Return the living key, its life renewed, or a new one made from `number`."""
        self.take_expired(safety_ms)
        if self.current is None:
            message = f"listen-key-{number}".encode()
            self.current = hmac.new(self._secret, message, hashlib.sha256).hexdigest()
        self._until_ms = safety_ms + LISTEN_KEY_LIFE_MS
        return self.current

    def keep(self, safety_ms: int) -> str:
        """Renew the key's life; -1125 where there is none."""
        if self.current is None or safety_ms >= self._until_ms:
            raise refusal(-1125)
        self._until_ms = safety_ms + LISTEN_KEY_LIFE_MS
        return self.current

    def close(self) -> None:
        """End the key; -1125 where there is none."""
        if self.current is None:
            raise refusal(-1125)
        self.current = None

    def restore(self, listen_key: str | None, safety_ms: int) -> None:
        """Take up the key of an earlier run, with a whole life: time-outs do not run while down."""
        self.current = listen_key
        self._until_ms = safety_ms + LISTEN_KEY_LIFE_MS

    def take_expired(self, safety_ms: int) -> str | None:
        """Return the key that has just ended, once; None where it lives."""
        if self.current is None or safety_ms < self._until_ms:
            return None
        expired, self.current = self.current, None
        return expired
