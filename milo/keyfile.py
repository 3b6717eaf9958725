"""The key file's form: what its bytes say, without cryptography and without I/O (layer 0).

`keys.json` is one JSON object: how the key is derived from the password, how the keys are sealed,
and the sealed keys themselves. Every byte counts: a file that is not exactly what `SealedKeys`
renders was changed, and all fields but the sealed data are bound to them as associated data.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from milo.errors import ConfigError
from milo.secret import Secret

MIN_ITERATIONS = 600_000
MAX_ITERATIONS = 10_000_000
"""A forged file must not keep the machine busy for minutes."""
MAX_BYTES = 1 << 20

SALT_BYTES = 16
NONCE_BYTES = 12
KEY_BYTES = 32
TAG_BYTES = 16

_FORMAT = "milo-keys"
_VERSION = 1
_KDF = "PBKDF2-HMAC-SHA256"
_CIPHER = "AES-256-GCM"
_PLAINTEXT_FIELDS = frozenset({"api_key", "api_secret", "password"})
_MAX_KEY_CHARS = 512
_SECRET_FIELD = re.compile(rb'"api_secret": "((?:[^"\\]|\\.)*)"')
_BACKSLASH = ord("\\")


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKeys:
    """A venue's key and secret; never shown."""

    api_key: str = field(repr=False)
    api_secret: Secret = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaintextKeys:
    """What MILOBOT's documented, unencrypted key file holds; never shown."""

    keys: ApiKeys
    password: Secret = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedKeys:
    """An encrypted key file."""

    iterations: int
    salt: bytes
    nonce: bytes
    sealed: bytes
    """Ciphertext and tag."""

    def associated_data(self) -> bytes:
        """Return the bytes that bind every other field to the sealed data."""
        return json.dumps(self._header(), sort_keys=True, separators=(",", ":")).encode()

    def render(self) -> bytes:
        """Return the file's bytes."""
        document = self._header() | {"data": _base64(self.sealed)}
        return json.dumps(document, indent=2).encode() + b"\n"

    def _header(self) -> dict[str, Any]:
        return {
            "format": _FORMAT,
            "version": _VERSION,
            "kdf": {"name": _KDF, "iterations": self.iterations, "salt": _base64(self.salt)},
            "cipher": _CIPHER,
            "nonce": _base64(self.nonce),
        }


def parse_key_file(raw: bytes, *, name: str) -> SealedKeys | PlaintextKeys:
    """Recognise a key file: ours, or MILOBOT's plaintext one.

    Raises ConfigError, with `name` in its text and no secret, for everything else.
    """
    document = _json_object(raw, name)
    if "format" in document:
        sealed = _sealed_of(document, name)
        if sealed.render() != raw:
            raise ConfigError(f"{name} was changed after it was written: restore a copy of it")
        return sealed
    if not document.keys() & _PLAINTEXT_FIELDS:
        raise ConfigError(f"{name} is not a key file of Milo; it stays as it is")
    if document.keys() != _PLAINTEXT_FIELDS or not all(
        isinstance(value, str) and value for value in document.values()
    ):
        raise ConfigError(
            f"{name} looks like a plaintext key file but is not one: needed are api_key, "
            "api_secret and password, each a text, and nothing else; it stays as it is"
        )
    keys = checked_keys(document["api_key"], document["api_secret"], name=name)
    return PlaintextKeys(keys=keys, password=Secret(document["password"]))


def checked_keys(api_key: str, api_secret: str, *, name: str) -> ApiKeys:
    """Return the keys without outer blanks; ConfigError where they cannot be an exchange's."""
    pair = (api_key.strip(), api_secret.strip())
    for what, text in zip(("API key", "API secret"), pair, strict=True):
        # The key travels in an HTTP header: nothing but visible ASCII may get there.
        if not text or len(text) > _MAX_KEY_CHARS or not all("!" <= char <= "~" for char in text):
            raise ConfigError(f"{name}: the {what} is empty or holds what no exchange gives out")
    return ApiKeys(api_key=pair[0], api_secret=Secret(pair[1]))


def dump_keys(keys: Mapping[str, ApiKeys]) -> bytearray:
    """Return what is sealed, the venues' keys as JSON; the caller overwrites it after use."""
    return bytearray(
        json.dumps(
            {
                venue: {"api_key": pair.api_key, "api_secret": pair.api_secret.text()}
                for venue, pair in sorted(keys.items())
            }
        ).encode()
    )


def load_keys(plain: bytearray, *, name: str) -> dict[str, ApiKeys]:
    """Read what `dump_keys` made; ConfigError for anything else.

    The secrets in `plain` are overwritten: they come out as bytes that can be forgotten, and
    Python's JSON reader, whose texts cannot be, never meets them.
    """
    secrets = _cut_out_secrets(plain)
    try:
        document = json.loads(plain)
        return {
            venue: ApiKeys(api_key=pair["api_key"], api_secret=secret)
            for (venue, pair), secret in zip(document.items(), secrets, strict=True)
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        # Without the cause: its text could hold a secret.
        raise ConfigError(f"{name} holds keys in a form that this Milo does not know") from None


def _cut_out_secrets(plain: bytearray) -> list[Secret]:
    """Return the secrets in their order, and put stars in their places."""
    found: list[Secret] = []
    for start, end in [match.span(1) for match in _SECRET_FIELD.finditer(plain)]:
        raw = bytearray()
        is_escaped = False
        for byte in memoryview(plain)[start:end]:
            # JSON escapes no other visible ASCII than these two.
            is_escaped = byte == _BACKSLASH and not is_escaped
            if not is_escaped:
                raw.append(byte)
        plain[start:end] = b"*" * (end - start)
        found.append(Secret.taking(raw))
    return found


def _json_object(raw: bytes, name: str) -> dict[str, Any]:
    try:
        document = json.loads(raw, object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        raise ConfigError(f"{name} is not a key file: it is not JSON; it stays as it is") from None
    if not isinstance(document, dict):
        raise ConfigError(f"{name} is not a key file of Milo; it stays as it is")
    return document


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("a name occurs twice")
    return document


def _sealed_of(document: dict[str, Any], name: str) -> SealedKeys:
    version = document.get("version")
    if document["format"] == _FORMAT and type(version) is int and version > _VERSION:
        raise ConfigError(f"{name} was made by a newer Milo (version {version}), or was changed")
    try:
        kdf = document["kdf"]
        sealed = SealedKeys(
            iterations=kdf["iterations"],
            salt=base64.b64decode(kdf["salt"], validate=True),
            nonce=base64.b64decode(document["nonce"], validate=True),
            sealed=base64.b64decode(document["data"], validate=True),
        )
    except (KeyError, TypeError, binascii.Error, ValueError):
        raise ConfigError(f"{name} is damaged: restore a copy of it") from None
    iterations = sealed.iterations
    if type(iterations) is not int or not MIN_ITERATIONS <= iterations <= MAX_ITERATIONS:
        raise ConfigError(
            f"{name} is damaged: its iterations are not from {MIN_ITERATIONS:,} to "
            f"{MAX_ITERATIONS:,}; restore a copy of it"
        )
    lengths = (len(sealed.salt), len(sealed.nonce))
    if lengths != (SALT_BYTES, NONCE_BYTES) or len(sealed.sealed) < TAG_BYTES:
        raise ConfigError(f"{name} is damaged: restore a copy of it")
    return sealed


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
