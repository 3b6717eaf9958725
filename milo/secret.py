"""A secret that never shows itself and can be forgotten (layer 0).

Python's texts cannot be overwritten; a bytearray can. So what has to be kept for a while, a key
file's password or an API secret, is kept as bytes, and these are overwritten after use. Copies that
libraries and the interpreter made on the way here are out of reach: docs/security.md names them.
"""

from __future__ import annotations

import hmac
import unicodedata
from typing import NoReturn

from milo.errors import ConfigError, InvariantBroken


class Secret:
    """A text as bytes that `forget` overwrites; neither shown, copied nor pickled by accident."""

    __slots__ = ("_is_forgotten", "_raw")

    def __init__(self, text: str) -> None:
        """Keep the text as NFC and UTF-8; ConfigError where it is not one of characters."""
        try:
            # One text has several encodings; systems differ in which one their keyboards send.
            self._raw = bytearray(unicodedata.normalize("NFC", text).encode())
        except UnicodeEncodeError:
            raise ConfigError("the password holds bytes that are no text: choose another") from None
        self._is_forgotten = False

    @classmethod
    def taking(cls, raw: bytearray) -> Secret:
        """Return a secret that owns these bytes of UTF-8 from now on; they end with it."""
        if raw.isascii():
            secret = cls("")
            secret._raw = raw
            return secret
        # Only a text can be brought into its normal form.
        text = raw.decode("utf-8", "surrogateescape")
        wipe(raw)
        return cls(text)

    @property
    def is_empty(self) -> bool:
        return not self._raw

    def bytes(self) -> bytearray:
        """Return the bytes themselves, to be read at once and not kept.

        Raises InvariantBroken once they are forgotten: nothing may be encrypted with zeros.
        """
        if self._is_forgotten:
            raise InvariantBroken("a secret is asked for after it was forgotten")
        return self._raw

    def text(self) -> str:
        """Return the text, which lives until the interpreter reuses its memory."""
        return self.bytes().decode()

    def forget(self) -> None:
        """Overwrite the bytes; may be called twice."""
        wipe(self._raw)
        self._is_forgotten = True

    def __repr__(self) -> str:
        return "Secret(...)"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._raw, other._raw)

    __hash__ = None  # type: ignore[assignment]  # equal ones may change at any time

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret does not travel")


def wipe(buffer: bytearray) -> None:
    """Overwrite a buffer with zeros, in place."""
    buffer[:] = bytes(len(buffer))
