"""Signing: one percent-encoded text is built, signed and sent (layer 1).

The exchange signs the query and the body joined without a separator, and compares bytes. So a
request's parameters are encoded exactly once, here; what is signed is what goes on the wire.
Source: exchange documentation, general info, "SIGNED endpoint security".
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable
from urllib.parse import quote

from milo.ports import Signer
from milo.secret import Secret

KEY_HEADER = "X-MBX-APIKEY"
_HIDDEN = b"(hidden)"
_ECHO = re.compile(rb"(?i)((?:signature|listenKey)=)[^&\s\"'<>]+")


class HmacSigner:
    """Sign with HMAC-SHA256, the venues' default key type; never shows its secret."""

    __slots__ = ("_keyed", "api_key")

    def __init__(self, api_key: str, api_secret: str | Secret) -> None:
        """Take the key in; of a `Secret` nothing but the keyed hash's own state is kept."""
        self.api_key = api_key
        key = api_secret.encode() if isinstance(api_secret, str) else api_secret.bytes()
        self._keyed = hmac.new(key, digestmod=hashlib.sha256)

    def __repr__(self) -> str:
        return "HmacSigner(...)"

    def sign(self, payload: bytes) -> str:
        """Return the lower-case hex HMAC-SHA256 of `payload`."""
        keyed = self._keyed.copy()
        keyed.update(payload)
        return keyed.hexdigest()


def encode_params(params: Iterable[tuple[str, str]]) -> str:
    """Return `k=v&k=v` in the given order, percent-encoded as UTF-8 (RFC 3986 unreserved kept)."""
    return "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in params)


def signed_payload(query: str, body: str) -> bytes:
    """Return the bytes that the exchange signs: query and body joined without a separator."""
    return (query + body).encode("ascii")


def with_signature(encoded: str, signer: Signer) -> str:
    """Append the signature of the encoded parameters as their last one."""
    signature = quote(signer.sign(signed_payload(encoded, "")), safe="")
    return f"{encoded}&signature={signature}"


def without_echo(content: bytes, *, sent: bytes, api_key: str) -> bytes:
    """Return an answer without the request's key and signature, which some error pages repeat.

    What an answer says can end in a log, a journal and on the screen; `sent` are the encoded
    parameters as they went out. An echo that was cut short is found by its parameter's name.
    """
    signature = sent.rpartition(b"&signature=")[2] if b"&signature=" in sent else b""
    for secret in (signature, api_key.encode(), quote(api_key, safe="").encode()):
        if secret and secret in content:
            content = content.replace(secret, _HIDDEN)
    return _ECHO.sub(rb"\1" + _HIDDEN, content)
