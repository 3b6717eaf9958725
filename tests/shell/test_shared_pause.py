"""A pause that one process was told holds for every process on the venue."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from aiohttp import web

from api_client import ApiClient
from milo.clock import VenueClock
from milo.errors import Refused
from milo.ops.shared_pause import PAUSE_FILE, SharedPause
from milo.wire.dialects import BINANCE
from milo.wire.sign import HmacSigner
from tests.scripted_venue import KEY, SECRET, STOP


def test_what_one_process_is_told_another_one_sees(tmp_path: Path) -> None:
    one, other = SharedPause(tmp_path), SharedPause(tmp_path)

    one.extend(30.0)

    assert 29.0 < other.left_s() <= 30.0


def test_a_shorter_pause_does_not_end_a_longer_one(tmp_path: Path) -> None:
    pause = SharedPause(tmp_path)
    pause.extend(30.0)

    pause.extend(1.0)

    assert pause.left_s() > 29.0


@pytest.mark.parametrize("text", ["", "soon", "-5", "99999999999999999999"])
def test_a_file_that_makes_no_sense_holds_nobody_back(tmp_path: Path, text: str) -> None:
    (tmp_path / PAUSE_FILE).write_text(text)

    assert SharedPause(tmp_path).left_s() == 0.0


def test_without_a_file_or_a_folder_there_is_no_pause(tmp_path: Path) -> None:
    assert SharedPause(tmp_path).left_s() == 0.0
    SharedPause(tmp_path / "not there").extend(5.0)
    assert os.listdir(tmp_path) == []


class CountingVenue:
    """Bans who asks for the time, and takes orders."""

    def __init__(self) -> None:
        self.asked = 0
        self.placed = 0

    async def time(self, request: web.Request) -> web.Response:
        self.asked += 1
        body = {"code": -1003, "msg": "Too many requests."}
        return web.json_response(body, status=429, headers={"Retry-After": "5"})

    async def order(self, request: web.Request) -> web.Response:
        self.placed += 1
        return web.json_response({"code": -4509, "msg": "no position"}, status=400)


async def test_a_client_that_was_started_in_a_pause_waits_but_for_what_protects(
    tmp_path: Path,
) -> None:
    venue = CountingVenue()
    app = web.Application()
    app.router.add_get("/fapi/v1/time", venue.time)
    app.router.add_post("/fapi/v1/algoOrder", venue.order)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"

    def client() -> ApiClient:
        return ApiClient(
            dialect=BINANCE,
            rest_url=url,
            clock=VenueClock(),
            signer=HmacSigner(KEY, SECRET),
            pause_folder=tmp_path,
        )

    try:
        async with client() as first:
            await _gives_up(first)
        asked = venue.asked
        async with client() as second:
            assert second.pause_left_s > 1.0
            await _gives_up(second)
            with pytest.raises(Refused, match="no position"):
                await second.place_order(STOP)
    finally:
        await runner.cleanup()

    assert asked == 1
    assert venue.asked == 1
    assert venue.placed == 1


async def _gives_up(client: ApiClient) -> None:
    """Ask for the time, and do not wait for the end of the pause."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await client.server_time()
