"""KeyManager: the encrypted key file; it hands out a signer, never the secret.

PBKDF2-HMAC-SHA256 makes the key, AES-256-GCM seals; a fresh salt and nonce each time the file is
written. Deriving the key takes a good part of a second by design: from async code use `unlock`, or
asyncio.to_thread for the other methods.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import tempfile
from contextlib import suppress
from pathlib import Path

from milo.errors import ConfigError, StoreError
from milo.keyfile import (
    KEY_BYTES,
    MAX_BYTES,
    MIN_ITERATIONS,
    NONCE_BYTES,
    SALT_BYTES,
    TAG_BYTES,
    ApiKeys,
    PlaintextKeys,
    SealedKeys,
    checked_keys,
    dump_keys,
    load_keys,
    parse_key_file,
)
from milo.secret import Secret, wipe
from milo.store.files import make_private_folder
from milo.wire.sign import HmacSigner

DEFAULT_VENUE = "binance"
"""The venue of MILOBOT's key file, which names none."""

Password = Secret | str

_FILE_MODE = 0o600


class KeyManager:
    """The key file of one path: `keys.json`, mode 0600, replaced as a whole or not at all.

    Raises ConfigError, one line with the path, for a wrong password, a changed or foreign file and
    for keys that are not there; StoreError where the file cannot be written. Neither holds secrets.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def path(self) -> Path:
        return self._path

    def exists(self) -> bool:
        """Tell whether there is a key file."""
        return os.path.exists(self._path)

    def is_plaintext(self) -> bool:
        """Tell whether the file is MILOBOT's unencrypted one; see `migrate_plaintext`."""
        return isinstance(self._parsed(), PlaintextKeys)

    def venues(self, password: Password) -> tuple[str, ...]:
        """Return the names of the venues whose keys the file holds, sorted."""
        keys = self._open(password)
        _forget(keys)
        return tuple(sorted(keys))

    def set_keys(self, venue: str, api_key: str, api_secret: str, password: Password) -> None:
        """Store a venue's keys; those of other venues stay.

        Where the file exists already, `password` must be the file's.
        """
        if not venue or not venue.isprintable():
            raise ConfigError("name the venue whose keys these are")
        pair = checked_keys(api_key, api_secret, name=f"keys of {venue}")
        keys = self._open(password) if self.exists() else {}
        try:
            self._write(keys | {venue: pair}, password)
        finally:
            _forget(keys | {venue: pair})

    def signer(self, venue: str, password: Password) -> HmacSigner:
        """Return the signer of a venue's keys."""
        keys = self._open(password)
        try:
            if venue not in keys:
                held = ", ".join(sorted(keys)) or "none"
                raise ConfigError(
                    f"{self._path} holds no keys of {venue} (it holds: {held}): "
                    f"run --set-keys {venue} first"
                )
            return HmacSigner(keys[venue].api_key, keys[venue].api_secret)
        finally:
            _forget(keys)

    async def unlock(self, venue: str, password: Password) -> HmacSigner:
        """Do what `signer` does, in a thread, so that the event loop goes on."""
        return await asyncio.to_thread(self.signer, venue, password)

    def migrate_plaintext(
        self, password: Password | None = None, *, venue: str = DEFAULT_VENUE
    ) -> str | None:
        """Encrypt MILOBOT's plaintext file in place; return the line that says so.

        `password` None takes the one that the file names, which is what it is there for. Returns
        None where the file is encrypted already. Raises ConfigError for any other file, which
        stays untouched.
        """
        found = self._parsed()
        if not isinstance(found, PlaintextKeys):
            return None
        self._write({venue: found.keys}, found.password if password is None else password)
        whose = "named in it" if password is None else "that you gave"
        return (
            f"{self._path} held its keys in plain text; it is encrypted now, as keys of {venue}, "
            f"with the password {whose}. Delete any other copy of the old file."
        )

    def _open(self, password: Password) -> dict[str, ApiKeys]:
        found = self._parsed()
        if isinstance(found, PlaintextKeys):
            raise ConfigError(f"{self._path} holds its keys in plain text: encrypt it first")
        key = _derived_key(password, found.salt, found.iterations)
        try:
            return _unsealed(found, key, str(self._path))
        finally:
            wipe(key)

    def _parsed(self) -> SealedKeys | PlaintextKeys:
        try:
            with self._path.open("rb") as file:
                raw = file.read(MAX_BYTES + 1)
        except FileNotFoundError:
            raise ConfigError(f"no key file at {self._path}: run --set-keys VENUE first") from None
        except OSError as error:
            raise ConfigError(f"cannot read {self._path}: {error.strerror}") from error
        if len(raw) > MAX_BYTES:
            raise ConfigError(f"{self._path} is not a key file of Milo: it is too large")
        return parse_key_file(raw, name=str(self._path))

    def _write(self, keys: dict[str, ApiKeys], password: Password) -> None:
        raw = _sealed(keys, password).render()
        try:
            _replace_file(self._path, raw)
        except OSError as error:
            raise StoreError(f"cannot write {self._path}: {error.strerror}") from error


def _derived_key(password: Password, salt: bytes, iterations: int) -> bytearray:
    secret = Secret(password) if isinstance(password, str) else password
    if secret.is_empty:
        raise ConfigError("an empty password protects nothing: choose one")
    try:
        raw = hashlib.pbkdf2_hmac("sha256", secret.bytes(), salt, iterations, KEY_BYTES)
        return bytearray(raw)
    finally:
        if secret is not password:
            secret.forget()


def _sealed(keys: dict[str, ApiKeys], password: Password) -> SealedKeys:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    header = SealedKeys(
        iterations=MIN_ITERATIONS,
        salt=secrets.token_bytes(SALT_BYTES),
        nonce=secrets.token_bytes(NONCE_BYTES),
        sealed=b"",
    )
    key = _derived_key(password, header.salt, header.iterations)
    plain = dump_keys(keys)
    try:
        data = AESGCM(key).encrypt(header.nonce, plain, header.associated_data())
    finally:
        wipe(plain)
        wipe(key)
    return SealedKeys(
        iterations=header.iterations, salt=header.salt, nonce=header.nonce, sealed=data
    )


def _unsealed(found: SealedKeys, key: bytearray, name: str) -> dict[str, ApiKeys]:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    plain = bytearray(len(found.sealed) - TAG_BYTES)
    try:
        AESGCM(key).decrypt_into(found.nonce, found.sealed, found.associated_data(), plain)
        return load_keys(plain, name=name)
    except InvalidTag:
        raise ConfigError(f"{name}: wrong password, or the file was changed") from None
    finally:
        wipe(plain)


def _forget(keys: dict[str, ApiKeys]) -> None:
    for pair in keys.values():
        pair.api_secret.forget()


def _replace_file(path: Path, raw: bytes) -> None:
    """Put `raw` at `path` so that a crash leaves the old file or the new one, never a part."""
    # A link stays a link: what it points to is replaced.
    target = Path(os.path.realpath(path))
    make_private_folder(target.parent)
    # mkstemp makes a file that nobody else can open, from the start.
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(file.fileno(), _FILE_MODE)
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
