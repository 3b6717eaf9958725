"""The stepped clock: it moves only when everything was consumed, and every run is the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from milo.exchange.process import Settings

from .exchange_client import MINUTE_MS, START_MS, Client, Stepper, frame_of, market_file, running

FLAT = ("60000.0", "60000.0", "60000.0", "60000.0")
MINUTES = [
    FLAT,
    ("60000.0", "60300.0", "59900.0", "60100.0"),
    ("60100.0", "60700.0", "60000.0", "60650.0"),
    ("60700.0", "60700.0", "58000.0", "58100.0"),
    ("58100.0", "58200.0", "58000.0", "58100.0"),
]


def _settings(folder: Path, minutes: list[tuple[str, str, str, str]] = MINUTES) -> Settings:
    return Settings(
        state_dir=folder / "state",
        speed=0.0,
        market=market_file(folder, minutes),
        symbol="BTCUSDT",
        start_ms=START_MS,
        is_fresh=True,
    )


async def _stepper(client: Client, *, has_user: bool = False) -> Stepper:
    sockets = {"m1": await client.stream("/market/ws/btcusdt@kline_1m", "m1")}
    if has_user:
        sockets["u1"] = await client.user_stream("u1")
    return Stepper(await client.control(), sockets)


def _shape(frames: list[tuple[str, Any]]) -> list[tuple[str, str, int]]:
    return [(label, frame["e"], frame["E"] - START_MS) for label, frame in frames]


async def test_the_clock_stands_still_until_the_engine_is_idle(tmp_path: Path) -> None:
    async with running(_settings(tmp_path)) as client:
        before = await client.get("/fapi/v1/time")
        stepper = await _stepper(client)
        frames = await stepper.idle()
        after = await client.get("/fapi/v1/time")

    assert before["serverTime"] == START_MS
    assert _shape(frames) == [("m1", "kline", 20_000)]
    assert after["serverTime"] == START_MS + 20_000


async def test_nothing_moves_while_a_frame_is_not_consumed(tmp_path: Path) -> None:
    async with running(_settings(tmp_path)) as client:
        stepper = await _stepper(client)
        await stepper.idle()
        stepper.consumed["m1"] -= 1
        await stepper._control.send_str(json.dumps({"op": "idle", "consumed": stepper.consumed}))
        reply = json.loads(await stepper._control.receive_str())

    assert reply == {
        "clock": START_MS + 20_000, "sent": {"m1": 1}, "moved": False, "finished": False,
    }  # fmt: skip


async def test_the_account_is_told_in_a_step_of_its_own_before_the_candle(tmp_path: Path) -> None:
    async with running(_settings(tmp_path)) as client:
        stepper = await _stepper(client, has_user=True)
        await client.signed(
            "POST", "/fapi/v1/order", symbol="BTCUSDT", side="BUY", type="MARKET", quantity="0.01"
        )
        stepper.consumed["u1"] = 0
        for _ in range(4):
            await frame_of(stepper._sockets["u1"])
            stepper.consumed["u1"] += 1
        await client.signed(
            "POST", "/fapi/v1/algoOrder", algoType="CONDITIONAL", symbol="BTCUSDT", side="SELL",
            type="TAKE_PROFIT_MARKET", triggerPrice="60200", closePosition="true",
        )  # fmt: skip
        await frame_of(stepper._sockets["u1"])
        stepper.consumed["u1"] += 1
        steps = [await stepper.idle() for _ in range(8)]

    at = 2 * MINUTE_MS - 20_000
    told = [_shape(frames) for frames in steps if any(f["E"] == START_MS + at for _, f in frames)]
    assert [{label for label, _, _ in frames} for frames in told] == [{"u1"}, {"m1"}]
    assert [name for _, name, _ in told[0]] == [
        "ALGO_UPDATE", "ALGO_UPDATE", "ORDER_TRADE_UPDATE", "ACCOUNT_UPDATE", "TRADE_LITE",
        "ORDER_TRADE_UPDATE", "ALGO_UPDATE",
    ]  # fmt: skip


async def test_two_connections_are_told_one_after_the_other(tmp_path: Path) -> None:
    async with running(_settings(tmp_path)) as client:
        sockets = {
            "a": await client.stream("/market/ws/btcusdt@kline_1m", "a"),
            "b": await client.stream("/market/ws/btcusdt@kline_5m", "b"),
        }
        stepper = Stepper(await client.control(), sockets)
        steps = [await stepper.idle() for _ in range(4)]

    assert [_shape(frames) for frames in steps] == [
        [("a", "kline", 20_000)], [("b", "kline", 20_000)],
        [("a", "kline", 40_000)], [("b", "kline", 40_000)],
    ]  # fmt: skip


async def test_a_closed_connection_holds_nobody_up(tmp_path: Path) -> None:
    async with running(_settings(tmp_path)) as client:
        gone = await client.stream("/market/ws/btcusdt@kline_1m", "gone")
        stepper = await _stepper(client)
        await gone.close()
        while "gone" in stepper.reply.get("sent", {"gone": 0}):
            await stepper._control.send_str(json.dumps({"op": "idle", "consumed": {}}))
            stepper.reply = json.loads(await stepper._control.receive_str())

        frames = await stepper.idle()

    assert _shape(frames)[0][:2] == ("m1", "kline")


async def test_the_run_ends_with_the_market_and_says_so(tmp_path: Path) -> None:
    async with running(_settings(tmp_path)) as client:
        stepper = await _stepper(client)
        frames = []
        while not stepper.reply.get("finished"):
            frames += await stepper.idle()
        again = await stepper.idle()
        token = {"X-Milo-Token": client.server.secrets.control_token}
        async with client.session.get(client.rest_url + "/milo/status", headers=token) as answer:
            status = await answer.json()

    closes = [frame["k"]["c"] for _, frame in frames if frame["k"]["x"]]
    assert closes == ["60000.00", "60100.00", "60650.00", "58100.00", "58100.00"]
    assert (again, stepper.reply["moved"]) == ([], False)
    assert (status["finished"], status["clock"]) == (True, START_MS + 5 * MINUTE_MS - 1)


async def test_without_anyone_to_tell_the_clock_does_not_move(tmp_path: Path) -> None:
    async with running(_settings(tmp_path)) as client:
        stepper = Stepper(await client.control(), {})

        await stepper.idle()

    assert stepper.reply == {"clock": START_MS, "sent": {}, "moved": False, "finished": False}


async def test_points_that_concern_nobody_are_passed_over(tmp_path: Path) -> None:
    async with running(_settings(tmp_path)) as client:
        user = await client.user_stream("u")
        await client.signed(
            "POST", "/fapi/v1/order", symbol="BTCUSDT", side="BUY", type="LIMIT",
            timeInForce="GTC", quantity="0.01", price="58050",
        )  # fmt: skip
        stepper = Stepper(await client.control(), {"u": user})
        await frame_of(user)
        stepper.consumed["u"] = 1

        frames = await stepper.idle()

    assert [name for _, name, _ in _shape(frames)][-1] == "ORDER_TRADE_UPDATE"
    assert stepper.reply["clock"] == START_MS + 4 * MINUTE_MS - 20_000


async def test_an_unlabelled_client_sees_the_market_but_holds_nobody_up(tmp_path: Path) -> None:
    async with running(_settings(tmp_path)) as client:
        guest = await client.stream("/market/ws/btcusdt@kline_1m")
        stepper = await _stepper(client)
        for _ in range(6):
            await stepper.idle()

        seen = [(await frame_of(guest))["E"] - START_MS for _ in range(6)]

    assert seen == [20_000, 40_000, 59_999, 60_000, 80_000, 100_000]


async def test_a_message_that_is_not_understood_is_answered(tmp_path: Path) -> None:
    async with running(_settings(tmp_path)) as client:
        control = await client.control()
        for text in ("nonsense", '{"op":"fly","consumed":{}}', '{"op":"idle"}'):
            await control.send_str(text)
            assert "error" in await frame_of(control)


async def test_a_free_running_exchange_is_not_stepped(tmp_path: Path) -> None:
    async with running(Settings(state_dir=tmp_path, speed=60.0)) as client:
        control = await client.control()
        await control.send_str('{"op":"idle","consumed":{}}')

        assert "max" in (await frame_of(control))["error"]


async def test_two_runs_tell_the_same_frames(tmp_path: Path) -> None:
    told = []
    for number in range(2):
        folder = tmp_path / str(number)
        folder.mkdir()
        told.append(await _whole_run(folder))

    # The listen key, the one secret in it, is left out.
    assert told[0] == told[1]
    assert any(frame["e"] == "ACCOUNT_UPDATE" for _, frame in told[0])


async def _whole_run(folder: Path) -> list[tuple[str, Any]]:
    """Buy on every closed candle, protect it, and go on to the end."""
    async with running(_settings(folder)) as client:
        stepper = await _stepper(client, has_user=True)
        frames: list[tuple[str, Any]] = []
        while not stepper.reply.get("finished"):
            new = await stepper.idle()
            frames += new
            if any(frame["e"] == "kline" and frame["k"]["x"] for _, frame in new):
                await client.signed(
                    "POST", "/fapi/v1/order", symbol="BTCUSDT", side="BUY", type="MARKET",
                    quantity="0.01",
                )  # fmt: skip
                await client.signed(
                    "POST", "/fapi/v1/algoOrder", algoType="CONDITIONAL", symbol="BTCUSDT",
                    side="SELL", type="STOP_MARKET", triggerPrice="59000", closePosition="true",
                )  # fmt: skip
        return frames
