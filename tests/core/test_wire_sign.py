"""Signing: the exchange's own vectors, and that what is signed is what is sent."""

from __future__ import annotations

from urllib.parse import parse_qsl

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from milo.secret import Secret
from milo.wire.sign import (
    HmacSigner,
    encode_params,
    signed_payload,
    with_signature,
    without_echo,
)

KEY = "dbefbc809e3e83c283a984c3a1459732ea7db1360ca80c5c2c8867408d28cc83"
SECRET = "2b5eb11e18796d12d88f13dc27dbbd02c2cc51ff7059765ed9821957d82bb4d9"
HEAD = (("symbol", "BTCUSDT"), ("side", "BUY"), ("type", "LIMIT"))
TAIL = (("recvWindow", "5000"), ("timestamp", "1591702613943"))
AMOUNT = (("quantity", "1"), ("price", "9000"))
IN_FORCE = (("timeInForce", "GTC"),)


@pytest.fixture
def signer() -> HmacSigner:
    return HmacSigner(KEY, SECRET)


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        (
            HEAD + AMOUNT + IN_FORCE + TAIL,
            "3c661234138461fcc7a7d8746c6558c9842d4e10870d2ecbedf7777cad694af9",
        ),
        (
            HEAD + IN_FORCE + AMOUNT + TAIL,
            "ec11dcc17e67e47f0d3c3f513dfe9062307e37619c5c82ebaa8fe0bdf3d59519",
        ),
    ],
)
def test_the_published_vectors_are_signed_in_the_order_sent(
    signer: HmacSigner, params: tuple[tuple[str, str], ...], expected: str
) -> None:
    encoded = encode_params(params)

    assert with_signature(encoded, signer) == f"{encoded}&signature={expected}"


def test_query_and_body_are_signed_joined_without_a_separator(signer: HmacSigner) -> None:
    query = encode_params(HEAD + IN_FORCE)
    body = encode_params(AMOUNT + TAIL)

    signature = signer.sign(signed_payload(query, body))

    assert signature == "30baaf0fab549bbeda7f5ef201898b34122da25fd23c646cac2c529aebe670a4"


def test_symbols_in_chinese_script_are_percent_encoded_as_utf_8() -> None:
    encoded = encode_params((("symbol", "币安人生USDT"),))

    assert encoded == "symbol=%E5%B8%81%E5%AE%89%E4%BA%BA%E7%94%9FUSDT"


def test_lists_are_encoded_once_with_their_double_quotes() -> None:
    assert encode_params((("list", '["a","b"]'),)) == "list=%5B%22a%22%2C%22b%22%5D"


def test_the_signer_never_shows_its_secret(signer: HmacSigner) -> None:
    assert SECRET not in repr(signer)
    assert KEY not in repr(signer)


@settings(deadline=None)
@given(st.lists(st.tuples(st.text(min_size=1), st.text(min_size=1)), min_size=1))
def test_any_parameters_survive_encoding_and_stay_ascii(params: list[tuple[str, str]]) -> None:
    encoded = encode_params(params)

    assert encoded.isascii()
    assert parse_qsl(encoded, strict_parsing=True, errors="strict") == params


def test_a_secret_signs_like_its_text_and_may_be_forgotten_at_once() -> None:
    secret = Secret(SECRET)
    signer = HmacSigner(KEY, secret)

    secret.forget()

    assert signer.sign(b"x") == HmacSigner(KEY, SECRET).sign(b"x")


@pytest.mark.parametrize(
    "echo",
    [
        b"X-MBX-APIKEY: %(key)s",
        b"GET /fapi/v1/order?symbol=X&signature=%(signature)s HTTP/1.1",
        b'{"msg": "%(signature)s is not valid for %(key)s"}',
        b'<a href="/fapi?SIGNATURE=%(half)s">',
        b"signature=%(half)s",
        b"PUT /fapi/v1/listenKey?listenKey=%(half)s&x=1",
    ],
)
def test_an_echo_of_the_request_tells_neither_key_nor_signature(echo: bytes) -> None:
    signature = HmacSigner(KEY, SECRET).sign(b"x")
    secrets = {b"key": KEY, b"signature": signature, b"half": signature[:30]}
    content = echo % {name: text.encode() for name, text in secrets.items()}

    shown = without_echo(content, sent=f"symbol=X&signature={signature}".encode(), api_key=KEY)

    assert b"(hidden)" in shown
    assert not [text for text in secrets.values() if text.encode() in shown]


@given(st.binary())
def test_an_answer_without_an_echo_stays_as_it_is(content: bytes) -> None:
    if b"=" not in content:
        assert without_echo(content, sent=b"symbol=X", api_key="") == content
