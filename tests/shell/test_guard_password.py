"""The key file's password on its way to a guard: over its standard input, and nowhere else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from key_manager import KeyManager
from milo.cli.venue import venue_name
from milo.errors import EngineError, InvariantBroken
from milo.ops.guard_process import GuardKeeper
from milo.secret import Secret
from tests.needles import Needles, memory_of, of_process

from .exchange_process import running

PASSWORD = "Schlüssel 비밀 7391 und noch etwas"


class Place:
    """A venue that counts as a real one, its folder, and its keys in a key file."""

    def __init__(self, data_dir: Path, url: str, api_key: str, api_secret: str) -> None:
        self.data_dir = data_dir
        self.url = url
        self.api_secret = api_secret
        self.folder = data_dir / venue_name(url)
        self.folder.mkdir(parents=True)
        keys = KeyManager(data_dir / "keys.json")
        keys.set_keys(venue_name(url), api_key, api_secret, PASSWORD)

    def keeper(self, password: Secret) -> GuardKeeper:
        arguments = ["--data-dir", str(self.data_dir), "--exchange", self.url, "--live"]
        return GuardKeeper(self.folder, arguments, venue=self.url, password=password)


@pytest.fixture
async def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Place]:
    # A guard that took it from there would fail.
    monkeypatch.setenv("MILO_KEY_PASSWORD", "that of somebody else")
    with running(tmp_path / "venue", "--speed", "1") as exchange:
        address = exchange.address
        yield await asyncio.to_thread(
            Place,
            tmp_path / "data",
            address["rest_url"],
            address["api_key"],
            address["api_secret"],
        )


async def test_a_guard_opens_the_key_file_and_nobody_sees_the_password(place: Place) -> None:
    keeper = place.keeper(Secret(PASSWORD))

    guard = await keeper.start(lambda looked_s: None)
    try:
        needles = Needles({"password": [PASSWORD], "API secret": [place.api_secret]})
        seen = {
            name: needles.found_in(of_process(guard.pid, name)) for name in ("cmdline", "environ")
        }
        left = needles.found_in(memory_of(guard.pid) or b"")
        environ = of_process(guard.pid, "environ")
    finally:
        is_ended = await keeper.end()

    assert is_ended
    assert seen == {"cmdline": set(), "environ": set()}
    assert b"MILO_" not in environ
    assert left == set()
    assert needles.found_below(place.data_dir) == set()


async def test_a_lost_guard_is_started_again_with_the_same_password(place: Place) -> None:
    keeper = place.keeper(Secret(PASSWORD))
    first = await keeper.start(lambda looked_s: None)
    await keeper.end()

    second = await keeper.start(lambda looked_s: None)
    await keeper.end()

    assert first.pid != second.pid


async def test_a_wrong_password_is_told_in_one_line_without_it(place: Place) -> None:
    keeper = place.keeper(Secret("wrong but long enough"))

    with pytest.raises(EngineError, match=r"the guard did not start: .*wrong password") as raised:
        await keeper.start(lambda looked_s: None)

    assert "long enough" not in str(raised.value)
    assert keeper.is_gone()


async def test_no_guard_is_started_once_the_password_is_forgotten(place: Place) -> None:
    password = Secret(PASSWORD)
    keeper = place.keeper(password)

    keeper.forget()

    with pytest.raises(InvariantBroken, match="after it was forgotten"):
        await keeper.start(lambda looked_s: None)
    assert keeper.is_gone()
    assert PASSWORD not in repr(keeper) + repr(vars(keeper))
