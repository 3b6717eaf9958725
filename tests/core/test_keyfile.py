"""The key file's form: every byte counts, MILOBOT's plaintext form is recognised exactly."""

from __future__ import annotations

import json

import pytest

from milo.errors import ConfigError
from milo.keyfile import (
    ApiKeys,
    PlaintextKeys,
    SealedKeys,
    checked_keys,
    dump_keys,
    load_keys,
    parse_key_file,
)
from milo.secret import Secret

SEALED = SealedKeys(
    iterations=600_000, salt=bytes(range(16)), nonce=bytes(range(12)), sealed=bytes(range(100, 137))
)
PLAINTEXT = {"api_key": "KEY", "api_secret": "SECRET", "password": "open sesame"}


def parse(document: object) -> SealedKeys | PlaintextKeys:
    raw = document if isinstance(document, bytes) else json.dumps(document).encode()
    return parse_key_file(raw, name="keys.json")


def changed(**fields: object) -> bytes:
    document = json.loads(SEALED.render()) | fields
    return json.dumps(document, indent=2).encode() + b"\n"


def test_a_rendered_file_reads_back_equal() -> None:
    assert parse(SEALED.render()) == SEALED


def test_the_file_says_how_it_is_sealed() -> None:
    document = json.loads(SEALED.render())

    assert document["format"] == "milo-keys"
    assert document["version"] == 1
    assert document["kdf"]["name"] == "PBKDF2-HMAC-SHA256"
    assert document["kdf"]["iterations"] == 600_000
    assert document["cipher"] == "AES-256-GCM"


@pytest.mark.parametrize("other", [b"\x00", b" ", b"0", b"A", b'"', b"\xff"])
def test_every_changed_byte_is_refused_or_reaches_the_cipher(other: bytes) -> None:
    """What still parses must differ in what AES-GCM authenticates."""
    raw = SEALED.render()
    for place in range(len(raw)):
        if raw[place : place + 1] == other:
            continue
        try:
            found = parse(raw[:place] + other + raw[place + 1 :])
        except ConfigError:
            continue
        assert isinstance(found, SealedKeys)
        assert (found.associated_data(), found.sealed) != (
            SEALED.associated_data(),
            SEALED.sealed,
        )


@pytest.mark.parametrize("place", range(0, 400, 40))
def test_a_cut_or_extended_file_is_refused(place: int) -> None:
    raw = SEALED.render()

    with pytest.raises(ConfigError):
        parse(raw[: min(place, len(raw) - 1)])
    with pytest.raises(ConfigError, match="was changed"):
        parse(raw + b"\n" * (place // 40 + 1))


@pytest.mark.parametrize("iterations", [0, 1, 599_999, 10_000_001, 10**30, 6e5, "600000", True])
def test_weak_or_endless_derivation_is_refused(iterations: object) -> None:
    kdf = json.loads(SEALED.render())["kdf"] | {"iterations": iterations}

    with pytest.raises(ConfigError, match=r"its iterations are not from 600,000 to 10,000,000"):
        parse(changed(kdf=kdf))


@pytest.mark.parametrize(
    "fields",
    [
        {"kdf": None},
        {"kdf": {"name": "scrypt"}},
        {"nonce": "AAAA"},
        {"nonce": "????????????????"},
        {"nonce": 5},
        {"data": ""},
        {"data": []},
        {"cipher": "none"},
        {"format": "milo"},
        {"extra": 1},
        {"version": 0},
        {"version": "1"},
    ],
)
def test_another_structure_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"keys\.json (is damaged|was changed)"):
        parse(changed(**fields))


def test_a_newer_version_is_named() -> None:
    with pytest.raises(ConfigError, match=r"made by a newer Milo \(version 2\)"):
        parse(changed(version=2))


def test_milobots_plaintext_form_is_recognised() -> None:
    found = parse(PLAINTEXT)

    assert found == PlaintextKeys(
        keys=ApiKeys(api_key="KEY", api_secret=Secret("SECRET")), password=Secret("open sesame")
    )


@pytest.mark.parametrize(
    "document",
    [
        {"api_key": "KEY"},
        {"api_key": "KEY", "api_secret": "SECRET"},
        {**PLAINTEXT, "password": ""},
        {**PLAINTEXT, "api_secret": None},
        {**PLAINTEXT, "api_key": 5},
        {**PLAINTEXT, "more": "x"},
        {"password": "x"},
    ],
)
def test_half_of_the_plaintext_form_is_refused(document: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="looks like a plaintext key file but is not one"):
        parse(document)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xff\xfe\x00",
        b"{",
        b"[1,2]",
        b'"text"',
        b"null",
        b"{}",
        b'{"binance": {"key": "x"}}',
        b'{"api_key": "a", "api_key": "b", "api_secret": "c", "password": "d"}',
        b"[" * 100_000,
    ],
)
def test_anything_else_is_no_key_file(raw: bytes) -> None:
    with pytest.raises(ConfigError, match=r"keys\.json is not a key file.*stays as it is"):
        parse(raw)


@pytest.mark.parametrize("text", ["", "  ", "a b", "line\nbreak", "schlüssel", "x" * 513, "\x7f"])
def test_keys_that_no_exchange_gives_out_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="API key"):
        checked_keys(text, "SECRET", name="keys of binance")
    with pytest.raises(ConfigError, match="API secret"):
        checked_keys("KEY", text, name="keys of binance")


def test_blanks_around_keys_are_dropped() -> None:
    assert checked_keys(" KEY\n", "\tSECRET ", name="x") == ApiKeys(
        api_key="KEY", api_secret=Secret("SECRET")
    )


def test_sealed_content_reads_back_equal() -> None:
    keys = {
        "binance": ApiKeys(api_key="K1", api_secret=Secret("S1")),
        "aster": ApiKeys(api_key="K2", api_secret=Secret("S2")),
    }

    assert load_keys(dump_keys(keys), name="keys.json") == keys


@pytest.mark.parametrize(
    "plain",
    [
        b"",
        b"[]",
        b'{"binance": "SECRET"}',
        b'{"a": {"api_key": 1}}',
        b'{"a": {"api_secret": "SECRET"}}',
    ],
)
def test_sealed_content_of_another_form_shows_nothing_of_it(plain: bytes) -> None:
    with pytest.raises(ConfigError, match="form that this Milo does not know") as caught:
        load_keys(bytearray(plain), name="keys.json")

    assert "SECRET" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_nothing_shows_the_keys() -> None:
    shown = repr(parse(PLAINTEXT))

    assert not any(secret in shown for secret in ("KEY", "SECRET", "open sesame"))


def test_reading_sealed_content_overwrites_the_secrets_in_it() -> None:
    odd = r'Zq"\Zq\"\\'
    plain = dump_keys({"binance": ApiKeys(api_key="K1", api_secret=Secret(odd))})

    keys = load_keys(plain, name="keys.json")

    assert keys["binance"].api_secret.text() == odd
    assert b"Zq" not in plain
