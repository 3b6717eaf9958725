"""The key file on the disk: sealed, private, replaced as a whole; secrets never come out."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pickle
import stat
from pathlib import Path

import pytest

import key_manager
from key_manager import KeyManager
from milo.errors import ConfigError, InvariantBroken, StoreError
from milo.keyfile import ApiKeys, SealedKeys

PASSWORD = "correct horse"
KEY = "dbefbc809e3e83c283a984c3a1459732ea7db1360ca80c5c2c8867408d28cc83"
SECRET = "2b5eb11e18796d12d88f13dc27dbbd02c2cc51ff7059765ed9821957d82bb4d9"
PAYLOAD = (
    b"symbol=BTCUSDT&side=BUY&type=LIMIT&quantity=1&price=9000&timeInForce=GTC"
    b"&recvWindow=5000&timestamp=1591702613943"
)
SIGNATURE = "3c661234138461fcc7a7d8746c6558c9842d4e10870d2ecbedf7777cad694af9"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "keys.json"


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A key file with binance's keys; made once, because making one takes its time."""
    made = tmp_path_factory.mktemp("keys") / "keys.json"
    KeyManager(made).set_keys("binance", KEY, SECRET, PASSWORD)
    return made.read_bytes()


def write_plaintext(path: Path, **changes: str) -> bytes:
    document = {"api_key": KEY, "api_secret": SECRET, "password": PASSWORD} | changes
    raw = json.dumps(document).encode()
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(raw)
    return raw


def kept(path: Path, raw: bytes) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(raw)
    return path


def test_keys_sign_as_the_exchange_documents(path: Path) -> None:
    keys = KeyManager(path)
    assert not keys.exists()

    keys.set_keys("binance", KEY, SECRET, PASSWORD)
    signer = keys.signer("binance", PASSWORD)

    assert keys.exists()
    assert signer.api_key == KEY
    assert signer.sign(PAYLOAD) == SIGNATURE


def test_the_file_is_private_and_alone(path: Path) -> None:
    old_mask = os.umask(0)
    try:
        KeyManager(path).set_keys("binance", KEY, SECRET, PASSWORD)
    finally:
        os.umask(old_mask)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [item.name for item in path.parent.iterdir()] == ["keys.json"]


def test_the_file_holds_nothing_readable(sealed: bytes) -> None:
    assert not any(text.encode() in sealed for text in (KEY, SECRET, PASSWORD, "binance"))
    assert json.loads(sealed)["kdf"]["iterations"] >= 600_000


def test_salt_and_nonce_are_fresh_each_time_and_other_venues_stay(
    path: Path, sealed: bytes
) -> None:
    keys = KeyManager(kept(path, sealed))

    keys.set_keys("aster", "ASTERKEY", "ASTERSECRET", PASSWORD)

    before, after = json.loads(sealed), json.loads(path.read_bytes())
    assert before["kdf"]["salt"] != after["kdf"]["salt"]
    assert before["nonce"] != after["nonce"]
    assert keys.venues(PASSWORD) == ("aster", "binance")
    assert keys.signer("binance", PASSWORD).sign(PAYLOAD) == SIGNATURE


def test_a_wrong_password_is_one_clear_line_and_changes_nothing(path: Path, sealed: bytes) -> None:
    keys = KeyManager(kept(path, sealed))

    for attempt in (
        lambda: keys.signer("binance", "wrong"),
        lambda: keys.set_keys("aster", "A", "B", "wrong"),
    ):
        with pytest.raises(ConfigError, match=r"keys\.json: wrong password, or the file was"):
            attempt()

    assert path.read_bytes() == sealed


@pytest.mark.parametrize("place", ["salt", "nonce", "data", "iterations"])
def test_a_changed_byte_in_any_part_is_a_clear_error(path: Path, sealed: bytes, place: str) -> None:
    name = f'"{place}": '.encode()
    start = sealed.index(name) + len(name) + 1
    raw = bytearray(sealed)
    raw[start] = ord("1") if raw[start : start + 1] != b"1" else ord("2")
    keys = KeyManager(kept(path, bytes(raw)))

    with pytest.raises(ConfigError, match="wrong password, or the file was changed"):
        keys.signer("binance", PASSWORD)


def test_a_password_is_one_text_however_it_is_typed(path: Path) -> None:
    KeyManager(path).set_keys("binance", KEY, SECRET, "Schlu\u0308ssel 비밀")

    assert KeyManager(path).venues("Schl\u00fcssel 비밀") == ("binance",)


@pytest.mark.parametrize("password", ["", "\udcff"])
def test_a_password_that_is_none_is_refused(path: Path, password: str) -> None:
    with pytest.raises(ConfigError, match="password"):
        KeyManager(path).set_keys("binance", KEY, SECRET, password)

    assert not path.exists()


def test_keys_of_another_venue_are_not_there(path: Path, sealed: bytes) -> None:
    keys = KeyManager(kept(path, sealed))

    with pytest.raises(ConfigError, match=r"no keys of aster \(it holds: binance\)") as caught:
        keys.signer("aster", PASSWORD)

    assert KEY not in str(caught.value)


def test_a_missing_file_says_what_to_run(path: Path) -> None:
    with pytest.raises(ConfigError, match="run --set-keys VENUE first"):
        KeyManager(path).signer("binance", PASSWORD)


def test_a_folder_in_the_files_place_is_a_clear_error(path: Path) -> None:
    path.mkdir(parents=True)

    with pytest.raises(ConfigError, match="cannot read"):
        KeyManager(path).signer("binance", PASSWORD)


def test_a_file_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(StoreError, match="cannot write"):
        KeyManager(tmp_path / "file" / "keys.json").set_keys("binance", KEY, SECRET, PASSWORD)


def test_a_huge_file_is_not_read(path: Path) -> None:
    keys = KeyManager(kept(path, b" " * 2_000_000))

    with pytest.raises(ConfigError, match="too large"):
        keys.signer("binance", PASSWORD)


def test_a_crash_before_the_replacement_leaves_the_old_file(
    path: Path, sealed: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = KeyManager(kept(path, sealed))

    def fail(source: object, target: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(key_manager.os, "replace", fail)
    with pytest.raises(StoreError, match="No space left"):
        keys.set_keys("aster", "A", "B", PASSWORD)

    assert path.read_bytes() == sealed
    assert [item.name for item in path.parent.iterdir()] == ["keys.json"]


def test_a_link_stays_a_link(tmp_path: Path, path: Path, sealed: bytes) -> None:
    kept(path, sealed)
    link = tmp_path / "link.json"
    link.symlink_to(path)

    KeyManager(link).set_keys("aster", "A", "B", PASSWORD)

    assert link.is_symlink()
    assert KeyManager(path).venues(PASSWORD) == ("aster", "binance")


@pytest.mark.parametrize("key", ["", "two words", "k\r\nX-Header: 1"])
def test_keys_that_cannot_be_are_refused(path: Path, key: str) -> None:
    with pytest.raises(ConfigError, match="the API key is empty or holds"):
        KeyManager(path).set_keys("binance", key, SECRET, PASSWORD)

    assert not path.exists()


def test_plaintext_is_encrypted_in_place_with_its_own_password(path: Path) -> None:
    write_plaintext(path)
    keys = KeyManager(path)
    assert keys.is_plaintext()

    told = keys.migrate_plaintext(None)

    assert told is not None
    assert "encrypted now, as keys of binance, with the password named in it" in told
    assert not keys.is_plaintext()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert SECRET.encode() not in path.read_bytes()
    assert keys.signer("binance", PASSWORD).sign(PAYLOAD) == SIGNATURE


def test_plaintext_is_encrypted_with_the_password_that_is_given(path: Path) -> None:
    write_plaintext(path)
    keys = KeyManager(path)

    told = keys.migrate_plaintext("another", venue="aster")

    assert told is not None
    assert "with the password that you gave" in told
    assert keys.venues("another") == ("aster",)


def test_an_encrypted_file_needs_no_migration(path: Path, sealed: bytes) -> None:
    keys = KeyManager(kept(path, sealed))

    assert keys.migrate_plaintext(None) is None
    assert path.read_bytes() == sealed


def test_half_a_plaintext_file_stays_untouched(path: Path) -> None:
    raw = write_plaintext(path, api_secret="")

    with pytest.raises(ConfigError, match="looks like a plaintext key file"):
        KeyManager(path).migrate_plaintext(PASSWORD)

    assert path.read_bytes() == raw


def test_plaintext_is_not_used_before_it_is_encrypted(path: Path) -> None:
    raw = write_plaintext(path)
    keys = KeyManager(path)

    with pytest.raises(ConfigError, match="plain text: encrypt it first"):
        keys.signer("binance", PASSWORD)
    with pytest.raises(ConfigError, match="plain text: encrypt it first"):
        keys.set_keys("binance", KEY, SECRET, PASSWORD)

    assert path.read_bytes() == raw


def test_a_signer_neither_shows_nor_travels(path: Path, sealed: bytes) -> None:
    signer = KeyManager(kept(path, sealed)).signer("binance", PASSWORD)

    assert SECRET not in repr(signer)
    assert KEY not in repr(signer)
    with pytest.raises(TypeError):
        pickle.dumps(signer)


async def test_unlocking_does_not_hold_up_the_loop(path: Path, sealed: bytes) -> None:
    keys = KeyManager(kept(path, sealed))
    ticks = 0

    unlocking = asyncio.create_task(keys.unlock("binance", PASSWORD))
    while not unlocking.done():
        ticks += 1
        await asyncio.sleep(0.001)

    assert (await unlocking).sign(PAYLOAD) == SIGNATURE
    assert ticks > 5


@pytest.mark.parametrize("venue", ["binance", "aster"])
def test_secrets_are_overwritten_as_soon_as_the_signer_has_them(
    path: Path, sealed: bytes, monkeypatch: pytest.MonkeyPatch, venue: str
) -> None:
    opened: list[dict[str, ApiKeys]] = []
    unseal = key_manager._unsealed

    def watched(found: SealedKeys, key: bytearray, name: str) -> dict[str, ApiKeys]:
        opened.append(unseal(found, key, name))
        return opened[-1]

    monkeypatch.setattr(key_manager, "_unsealed", watched)
    keys = KeyManager(kept(path, sealed))

    with contextlib.suppress(ConfigError):
        keys.signer(venue, PASSWORD)

    with pytest.raises(InvariantBroken, match="after it was forgotten"):
        opened[0]["binance"].api_secret.bytes()
