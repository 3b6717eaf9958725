"""A secret shows nothing, and is gone once it is forgotten."""

from __future__ import annotations

import copy
import pickle

import pytest

from milo.errors import ConfigError, InvariantBroken
from milo.secret import Secret


def test_a_secret_gives_its_text_to_who_asks_and_to_nobody_else() -> None:
    secret = Secret("open sesame")

    assert secret.text() == "open sesame"
    assert secret.bytes() == b"open sesame"
    for shown in (repr(secret), str(secret), f"{secret}", "%s" % [secret], ascii({1: secret})):
        assert "sesame" not in shown


def test_a_forgotten_secret_is_overwritten_and_cannot_be_used() -> None:
    secret = Secret("open sesame")
    raw = secret.bytes()

    secret.forget()
    secret.forget()

    assert raw == bytes(len("open sesame"))
    with pytest.raises(InvariantBroken, match="after it was forgotten"):
        secret.text()
    with pytest.raises(InvariantBroken, match="after it was forgotten"):
        secret.bytes()


@pytest.mark.parametrize("travel", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_secret_does_not_travel(travel: object) -> None:
    with pytest.raises(TypeError, match="does not travel"):
        travel(Secret("open sesame"))  # type: ignore[operator]


def test_equal_texts_are_equal_however_they_are_typed() -> None:
    assert Secret("Schlu\u0308ssel") == Secret("Schl\u00fcssel")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"


def test_bytes_that_are_taken_over_are_overwritten_with_it() -> None:
    raw = bytearray(b"open sesame")

    Secret.taking(raw).forget()

    assert raw == bytes(len(raw))


def test_a_text_that_is_none_is_refused_without_showing_it() -> None:
    with pytest.raises(ConfigError, match="no text") as caught:
        Secret("sesame\udcff")

    assert "sesame" not in str(caught.value)


def test_typed_bytes_become_the_same_text_however_they_are_typed() -> None:
    typed = Secret.taking(bytearray("Schlu\u0308ssel".encode()))

    assert typed == Secret("Schl\u00fcssel")
    with pytest.raises(ConfigError, match="no text"):
        Secret.taking(bytearray(b"sesame\xff"))
