"""No object that knows a secret says it when it is shown, logged or formatted."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from api_client import ApiClient
from key_manager import KeyManager
from milo.clock import VenueClock
from milo.config import load_config
from milo.errors import ConfigError
from milo.exchange.access import KeyPair
from milo.guard.lines import Hello
from milo.keyfile import ApiKeys, PlaintextKeys
from milo.ops.exchange_process import Address
from milo.ops.guard_process import GuardAddress, GuardKeeper
from milo.secret import Secret
from milo.wire.dialects import BINANCE
from milo.wire.sign import HmacSigner

KEY = "key-key-key-key-1"
HIDDEN = "hush-hush-hush-2"
PASSWORD = "open-sesame-3"
WRONG = "close-sesame-4"
SIGNER = HmacSigner(KEY, HIDDEN)
PAIR = ApiKeys(api_key=KEY, api_secret=Secret(HIDDEN))
HOLDERS = [
    Secret(HIDDEN),
    PAIR,
    PlaintextKeys(keys=PAIR, password=Secret(HIDDEN)),
    SIGNER,
    KeyPair(api_key=KEY, api_secret=HIDDEN),
    ApiClient(dialect=BINANCE, rest_url="http://127.0.0.1:9", clock=VenueClock(), signer=SIGNER),
    load_config({}, environ={"MILO_KEY_PASSWORD": HIDDEN}),
    GuardKeeper(Path("x"), [], venue="x", password=Secret(HIDDEN)),
    GuardAddress(pid=1, port=2, token=HIDDEN, venue="x"),
    Hello(n=1, token=HIDDEN, run="r", pid=1, symbols=("BTCUSDT",)),
    Address(
        pid=1, rest_url="x", ws_url="x", api_key=KEY, api_secret=HIDDEN, control_token=HIDDEN,
        identity="x", title="x", speed="1", base_interval="1m", account="x",
    ),
]  # fmt: skip
WAYS: list[Callable[[object], str]] = [
    repr,
    str,
    format,
    lambda holder: f"{holder!r:>5} {[holder]} { ({1: holder}) }",
    lambda holder: "%s %r" % (holder, holder),  # noqa: UP031 - as logging does it
]


@pytest.mark.parametrize("holder", HOLDERS, ids=lambda holder: type(holder).__name__)
def test_no_way_of_showing_an_object_shows_its_secret(holder: object) -> None:
    for show in WAYS:
        shown = show(holder)
        assert HIDDEN not in shown
        assert KEY not in shown


def test_a_signer_keeps_its_key_and_a_keyed_hash_and_nothing_else() -> None:
    assert HmacSigner.__slots__ == ("_keyed", "api_key")
    assert not hasattr(SIGNER, "__dict__")
    assert HIDDEN not in repr(SIGNER._keyed)


@pytest.mark.parametrize(
    ("venue", "password"), [("binance", WRONG), ("aster", PASSWORD)], ids=["password", "venue"]
)
def test_failures_of_the_key_file_chain_nothing_that_holds_a_secret(
    tmp_path: Path, venue: str, password: str
) -> None:
    keys = KeyManager(tmp_path / "keys.json")
    keys.set_keys("binance", KEY, HIDDEN, PASSWORD)

    with pytest.raises(ConfigError) as raised:
        keys.signer(venue, password)

    told = "".join(traceback.format_exception(raised.value))
    assert not [text for text in (KEY, HIDDEN, PASSWORD, WRONG) if text in told]
