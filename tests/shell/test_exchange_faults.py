"""Faults of the embedded exchange over its real doors: each does what its name says, no more."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
import pytest
from aiohttp import WSMsgType
from yarl import URL

from milo.errors import ConfigError
from milo.exchange.process import Settings, plan_of

from .exchange_client import START_MS, Client, frame_of, market_file, running

MINUTE = 60_000
FLAT = ("60000.0", "60000.0", "60000.0", "60000.0")
LONG_MS = 60_000
PATIENCE_S = 10.0

ENTRY = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.010"}
CLOSE = {"symbol": "BTCUSDT", "side": "SELL", "type": "MARKET", "quantity": "0.010",
         "reduceOnly": "true"}  # fmt: skip
STOP = {"symbol": "BTCUSDT", "side": "SELL", "type": "STOP_MARKET", "algoType": "CONDITIONAL",
        "triggerPrice": "50000", "closePosition": "true"}  # fmt: skip
TARGET = STOP | {"type": "TAKE_PROFIT_MARKET", "triggerPrice": "70000"}
REQUESTS: dict[str, tuple[str, str, dict[str, str]]] = {
    "entry": ("POST", "/fapi/v1/order", ENTRY),
    "close": ("POST", "/fapi/v1/order", CLOSE),
    "stop": ("POST", "/fapi/v1/algoOrder", STOP),
    "target": ("POST", "/fapi/v1/algoOrder", TARGET),
    "cancel": ("DELETE", "/fapi/v1/order", {"symbol": "BTCUSDT", "orderId": "1"}),
    "query": ("GET", "/fapi/v1/order", {"symbol": "BTCUSDT", "orderId": "1"}),
    "read": ("GET", "/fapi/v3/balance", {}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer; status 0 where the connection was closed without one."""

    status: int
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def code(self) -> int:
        return int(self.body.get("code", 0)) if isinstance(self.body, dict) else 0


class Run:
    """A running exchange on a market that stands still, with its faults and its ledger."""

    def __init__(self, client: Client, ledger: Path) -> None:
        self.client = client
        self.ledger_path = ledger

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.ledger_path.read_text().splitlines()]

    def of_kind(self, kind: str, **values: object) -> list[dict[str, Any]]:
        found = [line for line in self.lines if line["kind"] == kind]
        return [line for line in found if all(line[k] == v for k, v in values.items())]

    async def ask(self, method: str, path: str, params: Mapping[str, str]) -> Reply:
        """Send one signed request, and no second one."""
        now_ms = self.client.server.pace.due_ms()
        keys = self.client.server.secrets
        payload = urlencode(dict(params) | {"timestamp": str(now_ms)})
        signature = hmac.new(keys.api_secret.encode(), payload.encode(), hashlib.sha256).hexdigest()
        url = URL(f"{self.client.rest_url}{path}?{payload}&signature={signature}", encoded=True)
        return await self._sent(method, url, {"X-MBX-APIKEY": keys.api_key})

    async def public(self, path: str) -> Reply:
        return await self._sent("GET", URL(self.client.rest_url + path), {})

    async def send(self, kind: str, **changes: str) -> Reply:
        method, path, params = REQUESTS[kind]
        return await self.ask(method, path, params | changes)

    async def get(self, path: str, **params: str) -> Any:
        return (await self.ask("GET", path, params)).body

    async def _sent(self, method: str, url: URL, headers: dict[str, str]) -> Reply:
        try:
            async with self.client.session.request(method, url, headers=headers) as answer:
                return Reply(status=answer.status, body=await answer.json(), headers=answer.headers)
        except aiohttp.ServerDisconnectedError:
            return Reply(status=0)

    async def until(self, kind: str, **values: object) -> dict[str, Any]:
        """Wait until the ledger has such a line, and return it."""
        async with asyncio.timeout(PATIENCE_S):
            while not (found := self.of_kind(kind, **values)):  # noqa: ASYNC110 - a file
                await asyncio.sleep(0.01)
            return found[0]

    async def quantity(self) -> str:
        positions = await self.get("/fapi/v3/positionRisk")
        return positions[0]["positionAmt"] if positions else "0"

    def check_money(self) -> None:
        """Assert that the ledger alone explains the wallet to the last digit."""
        wallet = Decimal(self.of_kind("start")[0]["wallet"])
        trades = self.of_kind("trade")
        gained = sum((Decimal(t["realized"]) - Decimal(t["fee"]) for t in trades), Decimal())
        funding = sum(
            (Decimal(line["change"]) for line in self.of_kind("account", reason="FUNDING_FEE")),
            Decimal(),
        )
        state = self.client.server.venue.state
        assert Decimal(state.wallet).scaleb(-8) == wallet + gained + funding
        changes = sum((Decimal(line["change"]) for line in self.of_kind("account")), Decimal())
        assert changes == gained + funding


@contextlib.asynccontextmanager
async def run_of(
    folder: Path,
    *faults: dict[str, Any],
    minutes: list[tuple[str, str, str, str]] | None = None,
    speed: float = 1.0,
) -> AsyncIterator[Run]:
    schedule = {"seed": 5, "faults": [{"id": n, **f} for n, f in enumerate(faults, 1)]}
    file = folder / "faults-in.json"
    file.write_text(json.dumps(schedule))
    settings = Settings(
        state_dir=folder / "x",
        speed=speed,
        market=market_file(folder, minutes or [FLAT] * 300),
        symbol="BTCUSDT",
        start_ms=START_MS + 10 * MINUTE,
        is_fresh=True,
        faults=str(file),
        ledger=folder / "ledger.jsonl",
    )
    async with running(settings) as client:
        client.session._retry_connection = False  # what is lost must stay lost
        yield Run(client, folder / "ledger.jsonl")


def fault(name: str, **values: Any) -> dict[str, Any]:
    return {"name": name, "at_ms": 0, "for_ms": LONG_MS} | values


UNKNOWN = "Unknown error, please check your request or try again later."
INSTEAD = [
    # fault, its parameters, status, code, text, whether the order was placed
    ("answer_lost", {}, 0, 0, "", True),
    ("request_lost", {}, 0, 0, "", False),
    ("unknown_503", {"executed": True}, 503, 0, UNKNOWN, True),
    ("unknown_503", {"executed": False}, 503, 0, UNKNOWN, False),
    ("unknown_code", {"code": -1006, "executed": True}, 503, -1006,
     "An unexpected response was received from the message bus. Execution status unknown.", True),
    ("unknown_code", {"code": -1007}, 503, -1007,
     "Timeout waiting for response from backend server. Send status unknown; execution status"
     " unknown.", False),
    ("unavailable_503", {}, 503, 0, "Service Unavailable.", False),
    ("refuse_code", {"code": -2019}, 400, -2019, "Margin is insufficient.", False),
    ("refuse_code", {"code": -1015}, 429, -1015, "Too many new orders.", False),
    ("refuse_code", {"code": -4131}, 400, -4131,
     "The counterparty's best price does not meet the PERCENT_PRICE filter limit.", False),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "parameters", "status", "code", "text", "is_placed"),
    INSTEAD,
    ids=[f"{row[0]}-{n}" for n, row in enumerate(INSTEAD)],
)
async def test_a_request_meets_its_fault(
    tmp_path: Path,
    name: str,
    parameters: dict[str, Any],
    status: int,
    code: int,
    text: str,
    is_placed: bool,
) -> None:
    async with run_of(tmp_path, fault(name, on="entry", count=1, **parameters)) as run:
        reply = await run.send("entry")
        held = await run.quantity()
        again = await run.send("entry")

        assert (reply.status, reply.code) == (status, code)
        assert (reply.body or {"msg": ""})["msg"] == text
        assert held == ("0.010" if is_placed else "0")
        assert again.status == 200
        (hit,) = run.of_kind("fault", at="hit")
        answers = {line["n"]: line for line in run.of_kind("answer")}
        assert (hit["name"], hit["id"]) == (name, 1)
        assert answers[hit["n"]]["lost"] == (status == 0)
        assert answers[hit["n"]]["code"] == code
        run.check_money()


@pytest.mark.parametrize("on", [*REQUESTS, "any"])
async def test_a_fault_meets_the_requests_of_its_kind_only(tmp_path: Path, on: str) -> None:
    async with run_of(tmp_path, fault("request_lost", on=on, at_ms=300)) as run:
        await run.send("entry")
        await run.until("fault", at="begin")
        lost = {kind for kind in REQUESTS if (await run.send(kind)).status == 0}
        public = await run.public("/fapi/v1/time")

        assert lost == (set(REQUESTS) if on == "any" else {on})
        assert public.status == 200


async def test_too_many_requests_are_told_to_wait_and_what_protects_passes(tmp_path: Path) -> None:
    async with run_of(tmp_path, fault("too_many_429", at_ms=400, for_ms=1_500)) as run:
        await run.send("entry")
        await run.until("fault", at="begin")
        replies = {kind: await run.send(kind) for kind in ("entry", "read", "query")}
        public = await run.public("/fapi/v1/time")
        protective = {kind: (await run.send(kind)).status for kind in ("stop", "target", "close")}
        await run.until("fault", at="end")
        after = await run.send("read")

        assert {reply.status for reply in (*replies.values(), public)} == {429}
        assert {reply.code for reply in replies.values()} == {-1003}
        assert {reply.headers["Retry-After"] for reply in replies.values()} <= {"1", "2"}
        assert set(protective.values()) == {200}
        assert after.status == 200
        pauses, answers = run.of_kind("pause"), run.of_kind("answer", status=429)
        assert len(pauses) == len(answers) == 4
        for pause, answer in zip(pauses, answers, strict=True):
            assert pause["heard"]
            assert 900 < pause["until_t"] - answer["t"] < 2_100
        assert {line["blocks"] for line in run.of_kind("fault")} == {"none"}


async def test_a_pause_told_to_a_client_that_is_gone_is_written_down_as_unheard(
    tmp_path: Path,
) -> None:
    slow = fault("slow", on="read", delay_ms=500, at_ms=300, for_ms=3_000)
    async with run_of(tmp_path, slow, fault("too_many_429", at_ms=300, for_ms=3_000)) as run:
        await run.until("fault", name="too_many_429", at="begin")
        asking = asyncio.create_task(run.send("read"))
        await run.until("fault", at="hit")
        asking.cancel()

        assert (await run.until("pause"))["heard"] is False


async def test_a_ban_refuses_everyone_and_says_until_when(tmp_path: Path) -> None:
    async with run_of(tmp_path, fault("banned_418", for_ms=900), speed=60.0) as run:
        replies = [await run.send(kind) for kind in ("stop", "close", "cancel", "read")]
        replies.append(await run.public("/fapi/v1/time"))
        now_ms = run.client.server.pace.due_ms()
        await run.until("fault", at="end")
        after = await run.public("/fapi/v1/time")

        assert {(reply.status, reply.code) for reply in replies} == {(418, -1003)}
        until_ms = int(replies[0].body["msg"].partition("banned until ")[2].partition(".")[0])
        assert 0 < until_ms - now_ms < 900 * 60
        assert replies[0].headers["Retry-After"] == "1"
        assert after.status == 200
        assert len(run.of_kind("pause")) == 5
        assert {line["blocks"] for line in run.of_kind("fault")} == {"all"}


@pytest.mark.parametrize("after", [False, True])
async def test_a_slow_exchange_is_late_with_the_execution_or_with_the_answer(
    tmp_path: Path, after: bool
) -> None:
    slow = fault("slow", on="entry", delay_ms=300, after=after, count=1)
    async with run_of(tmp_path, slow) as run:
        reply = await run.send("entry")

        assert reply.status == 200
        (request,), (trade,) = run.of_kind("request"), run.of_kind("trade")
        (answer,) = run.of_kind("answer")
        assert answer["t"] - request["t"] >= 295
        assert (trade["t"] - request["t"] >= 295) != after


async def test_an_invisible_order_is_there_all_the_same(tmp_path: Path) -> None:
    async with run_of(tmp_path, fault("invisible", at_ms=300, for_ms=900)) as run:
        await run.send("entry", newClientOrderId="before")
        await run.until("fault", at="begin")
        await run.send("entry", newClientOrderId="market")
        limit = {"type": "LIMIT", "price": "59000", "timeInForce": "GTC"}
        await run.send("entry", newClientOrderId="limit", **limit)
        await run.send("stop", clientAlgoId="stop")
        held = await run.quantity()
        trades = await run.get("/fapi/v1/userTrades", symbol="BTCUSDT")
        hidden = await _seen(run)
        await run.until("fault", at="end")
        shown = await _seen(run)

        assert (held, len(trades)) == ("0.020", 2)
        assert hidden == [-2013, -2013, [], [], ["before"], []]
        assert shown == [0, 0, ["limit"], ["stop"], ["before", "market", "limit"], ["stop"]]


async def _seen(run: Run) -> list[Any]:
    order = await run.send("query", origClientOrderId="market", orderId="")
    algo = await run.ask("GET", "/fapi/v1/algoOrder", {"clientAlgoId": "stop"})
    lists = [
        [row.get("clientOrderId") or row["clientAlgoId"] for row in await run.get(path, **params)]
        for path, params in (
            ("/fapi/v1/openOrders", {}),
            ("/fapi/v1/openAlgoOrders", {}),
            ("/fapi/v1/allOrders", {"symbol": "BTCUSDT"}),
            ("/fapi/v1/allAlgoOrders", {"symbol": "BTCUSDT"}),
        )
    ]
    return [order.code, algo.code, *lists]


# --- streams --------------------------------------------------------------------------------------


async def test_a_silent_stream_loses_events_and_stays_open(tmp_path: Path) -> None:
    async with run_of(tmp_path, fault("ws_silence", at_ms=300, for_ms=700, market=True)) as run:
        socket = await run.client.user_stream()
        market = await run.client.stream("/public/ws/btcusdt@bookTicker")
        await frame_of(market)
        await run.until("fault", at="begin")
        await run.send("entry", newClientOrderId="unheard")
        with pytest.raises(TimeoutError):
            await frame_of(market, 0.3)
        await run.until("fault", at="end")
        await run.send("entry", newClientOrderId="heard")
        frames = [await frame_of(socket) for _ in range(4)]

        assert {f["o"]["c"] for f in frames if f["e"] == "ORDER_TRADE_UPDATE"} == {"heard"}
        assert (await frame_of(market))["e"] == "bookTicker"


async def test_silence_of_the_account_leaves_the_market_its_voice(tmp_path: Path) -> None:
    async with run_of(tmp_path, fault("ws_silence")) as run:
        user = await run.client.user_stream()
        market = await run.client.stream("/public/ws/btcusdt@bookTicker")
        await run.send("entry")
        await frame_of(market)
        await user.send_json({"method": "LIST_SUBSCRIPTIONS", "id": 1})

        assert (await frame_of(user))["id"] == 1


async def test_dropped_streams_end_at_once_and_cannot_be_opened_for_a_while(tmp_path: Path) -> None:
    async with run_of(tmp_path, fault("ws_drop", at_ms=300, for_ms=500)) as run:
        socket = await run.client.user_stream()
        message = await socket.receive(timeout=PATIENCE_S)
        with pytest.raises(aiohttp.WSServerHandshakeError, match="503"):
            await run.client.stream("/market/ws/btcusdt@kline_1m")
        await run.until("fault", at="end")
        again = await run.client.stream("/market/ws/btcusdt@kline_1m")

        assert message.type in (WSMsgType.CLOSED, WSMsgType.ERROR)
        assert (await frame_of(again))["e"] == "kline"


async def test_doubled_events_come_twice(tmp_path: Path) -> None:
    async with run_of(tmp_path, fault("ws_duplicate")) as run:
        socket = await run.client.user_stream()
        await run.send("entry")
        frames = [await frame_of(socket) for _ in range(8)]

        assert frames[::2] == frames[1::2]
        assert len({json.dumps(frame) for frame in frames}) == 4


async def test_reordered_events_all_come_in_another_order(tmp_path: Path) -> None:
    async with run_of(tmp_path, fault("ws_reorder")) as run:
        socket = await run.client.user_stream()
        for _ in range(8):
            await run.send("entry")
        frames = [await frame_of(socket) for _ in range(32)]

        told = [f["o"] for f in frames if f["e"] == "ORDER_TRADE_UPDATE"]
        states = [(order["i"], order["X"] == "FILLED") for order in told]
        assert len(set(states)) == 16
        assert states != sorted(states)


# --- fills ----------------------------------------------------------------------------------------


async def test_a_market_order_fills_in_pieces_and_is_partially_filled_between(
    tmp_path: Path,
) -> None:
    pieces = fault("partial_fill", parts=3, pause_ms=300, count=1)
    async with run_of(tmp_path, pieces) as run:
        reply = await run.send("entry", newOrderRespType="RESULT")
        stop = await run.send("stop")
        held = await run.quantity()
        await run.until("order", status="FILLED")

        assert (reply.body["status"], reply.body["executedQty"]) == ("PARTIALLY_FILLED", "0.003")
        assert (held, stop.status) == ("0.003", 200)
        assert [t["qty"] for t in run.of_kind("trade")] == ["0.003", "0.003", "0.004"]
        times = [t["t"] for t in run.of_kind("trade")]
        assert times[1] - times[0] >= 290
        assert times[2] - times[1] >= 250
        assert await run.quantity() == "0.010"
        assert (await run.send("entry", newOrderRespType="RESULT")).body["status"] == "FILLED"
        run.check_money()


async def test_a_dry_market_leaves_a_rest_that_expires(tmp_path: Path) -> None:
    async with run_of(tmp_path, fault("partial_fill", parts=2, pause_ms=100, dry=True)) as run:
        await run.send("entry")
        line = await run.until("order", status="EXPIRED")

        assert (line["filled"], await run.quantity()) == ("0.006", "0.006")
        run.check_money()


async def test_a_close_in_pieces_never_closes_more_than_there_is(tmp_path: Path) -> None:
    async with run_of(
        tmp_path, fault("partial_fill", at_ms=300, parts=2, pause_ms=200, count=1)
    ) as run:
        await run.send("entry")
        await run.until("fault", at="begin")
        await run.send("close")
        await run.send("close", quantity="0.003")
        line = await run.until("order", status="EXPIRED")

        assert line["filled"] == "0.007"
        assert await run.quantity() == "0"
        run.check_money()


FALL = ("60000.0", "60000.0", "58000.0", "58000.0")


async def test_a_stuck_trigger_waits_for_the_end_of_its_fault(tmp_path: Path) -> None:
    minutes = [FLAT] * 12 + [FALL] + [("58000.0",) * 4] * 200
    stuck = fault("stuck_triggering", for_ms=2_500)
    async with run_of(tmp_path, stuck, minutes=minutes, speed=240.0) as run:
        await run.send("entry")
        stop = await run.send("stop", triggerPrice="59000")
        await run.until("algo", status="TRIGGERING")
        number = {"algoId": str(stop.body["algoId"])}
        shown = await run.ask("GET", "/fapi/v1/algoOrder", number)
        listed = await run.get("/fapi/v1/openAlgoOrders")
        cancelled = await run.ask("DELETE", "/fapi/v1/algoOrder", number)
        held = await run.quantity()
        await run.until("algo", status="FINISHED")

        assert (shown.body["algoStatus"], listed, cancelled.code) == ("TRIGGERING", [], -4117)
        assert held == "0.010"
        assert run.of_kind("trade")[-1]["price"] == "58000"
        assert run.of_kind("trade")[-1]["t"] >= run.of_kind("fault", at="end")[0]["t"]
        assert await run.quantity() == "0"
        run.check_money()


# --- clock, money, limits of what can be asked for ------------------------------------------------


async def test_a_skewed_clock_shows_and_judges_another_time(tmp_path: Path) -> None:
    async with run_of(tmp_path, fault("clock_skew", skew_ms=20_000), speed=60.0) as run:
        shown = (await run.public("/fapi/v1/time")).body["serverTime"]
        due_ms = run.client.server.pace.due_ms()
        ticker = (await run.public("/fapi/v1/ticker/price?symbol=BTCUSDT")).body
        reply = await run.send("read")

        assert 19_000 * 60 < shown - due_ms < 20_100 * 60
        assert abs(ticker["time"] - due_ms) < 60_000
        assert reply.code == -1021


async def test_forced_funding_is_settled_on_what_is_held(tmp_path: Path) -> None:
    funding = {"name": "funding", "at_ms": 400, "rate": 0.001}
    async with run_of(tmp_path, funding) as run:
        await run.send("entry")
        line = await run.until("account", reason="FUNDING_FEE")
        income = await run.get("/fapi/v1/income", incomeType="FUNDING_FEE")

        assert line["change"] == "-0.60000000"
        assert [row["income"] for row in income] == ["-0.60000000"]
        run.check_money()


async def test_a_forced_liquidation_closes_what_is_held(tmp_path: Path) -> None:
    async with run_of(tmp_path, {"name": "liquidation", "at_ms": 500}) as run:
        await run.send("entry")
        await run.send("stop")
        trade = await run.until("trade", forced=True)
        await run.until("algo", status="EXPIRED")

        assert trade["client_id"].startswith("autoclose-")
        assert await run.quantity() == "0"
        run.check_money()


async def test_the_ledger_tells_what_happened_in_the_order_of_things(tmp_path: Path) -> None:
    async with run_of(tmp_path) as run:
        await run.send("entry", newClientOrderId="mine")
        await run.send("stop", clientAlgoId="my-stop")
        await run.send("close")
        await run.send("stop")
        lines, now_ms = run.lines, run.client.now_ms

    after = json.loads(run.ledger_path.read_text().splitlines()[-1])
    assert [line["kind"] for line in lines] == [
        "start",
        "request", "order", "position", "account", "order", "trade", "answer",
        "request", "algo", "answer",
        "request", "order", "position", "account", "order", "trade", "algo", "answer",
        "request", "answer",
    ]  # fmt: skip
    assert after["kind"] == "end"
    assert [line["t"] for line in lines] == sorted(line["t"] for line in lines)
    assert all(START_MS < line["clock"] <= now_ms for line in lines)
    request = lines[1]
    assert (request["n"], request["method"], request["path"]) == (1, "POST", "/fapi/v1/order")
    assert request["params"] == ENTRY | {"newClientOrderId": "mine"}
    requests = [line for line in lines if line["kind"] == "request"]
    assert [line["protective"] for line in requests] == [False, True, True, True]
    assert [line["code"] for line in lines if line["kind"] == "answer"] == [0, 0, 0, -4509]
    trade = next(line for line in lines if line["kind"] == "trade")
    assert (trade["client_id"], trade["qty"], trade["fee"]) == ("mine", "0.01", "0.30000000")
    position, account = lines[3], lines[4]
    assert (position["qty"], position["entry"]) == ("0.01", "60000")
    assert (account["wallet"], account["change"]) == ("9999.70000000", "-0.30000000")
    algos = [line for line in lines if line["kind"] == "algo"]
    assert [(a["client_id"], a["status"]) for a in algos] == [
        ("my-stop", "NEW"), ("my-stop", "EXPIRED"),
    ]  # fmt: skip


async def test_a_stepped_exchange_keeps_a_ledger_too(tmp_path: Path) -> None:
    ledger = tmp_path / "told.jsonl"
    async with running(Settings(state_dir=tmp_path / "x", speed=0.0, ledger=ledger)) as client:
        await client.signed("POST", "/fapi/v1/order", **ENTRY)

    kinds = [json.loads(line)["kind"] for line in ledger.read_text().splitlines()]
    assert kinds == [
        "start", "request", "order", "position", "account", "order", "trade", "answer", "end",
    ]  # fmt: skip


async def test_a_second_run_goes_on_in_the_same_ledger(tmp_path: Path) -> None:
    ledger = tmp_path / "told.jsonl"
    for _ in range(2):
        settings = Settings(state_dir=tmp_path / "x", speed=0.0, ledger=ledger)
        async with running(settings) as client:
            await client.signed("POST", "/fapi/v1/order", **ENTRY)

    lines = [json.loads(line) for line in ledger.read_text().splitlines()]
    numbers = [line["n"] for line in lines if line["kind"] == "request"]
    starts = [line for line in lines if line["kind"] == "start"]
    assert len(set(numbers)) == 2
    assert (starts[0]["wallet"], starts[0]["account"]) == ("10000.00000000", starts[1]["account"])
    assert Decimal(starts[1]["wallet"]) < Decimal(starts[0]["wallet"])


def test_faults_need_a_clock_that_runs(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--speed X"):
        plan_of(Settings(state_dir=tmp_path, speed=0.0, faults="lossy"))


def test_an_unknown_profile_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="lossy"):
        plan_of(Settings(state_dir=tmp_path, faults="lousy"))
