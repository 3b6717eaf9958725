"""An HTTP server on loopback that answers a client by a script."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

from aiohttp import web

from api_client import ApiClient
from milo.clock import VenueClock, wall_ms
from milo.model import NewOrder, OrderType, Side
from milo.wire.dialects import BINANCE
from milo.wire.sign import HmacSigner

KEY, SECRET = "the-key", "the-secret"
ENTRY = NewOrder(
    symbol="BTCUSDT", side=Side.BUY, type=OrderType.MARKET, client_id="m1-e", qty=Decimal("0.01")
)
EXIT = NewOrder(
    symbol="BTCUSDT",
    side=Side.SELL,
    type=OrderType.MARKET,
    client_id="m1-x",
    qty=Decimal("0.01"),
    is_reduce_only=True,
)
STOP = NewOrder(
    symbol="BTCUSDT",
    side=Side.SELL,
    type=OrderType.STOP_MARKET,
    client_id="m1-s",
    trigger_price=Decimal("57000.0"),
    is_close_position=True,
)
ORDER: dict[str, Any] = {
    "orderId": 7, "symbol": "BTCUSDT", "status": "NEW", "clientOrderId": "m1-e", "price": "0",
    "origQty": "0.01", "executedQty": "0", "type": "MARKET", "reduceOnly": False, "side": "BUY",
    "updateTime": 5,
}  # fmt: skip
ALGO: dict[str, Any] = {
    "algoId": 9, "clientAlgoId": "m1-s", "orderType": "STOP_MARKET", "symbol": "BTCUSDT",
    "side": "SELL", "quantity": "0", "algoStatus": "NEW", "triggerPrice": "57000", "price": "0",
    "closePosition": True, "reduceOnly": True, "createTime": 5, "updateTime": 5,
}  # fmt: skip


def error(status: int, code: int | str, msg: str = "?", **headers: str) -> web.Response:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return web.json_response({"code": code, "msg": msg}, status=status, headers=names)


Answer = web.StreamResponse | Callable[[web.Request], Awaitable[web.StreamResponse]]


class ScriptedVenue:
    """A server that gives scripted answers in turn, by path, and remembers what it was asked."""

    def __init__(self) -> None:
        self.url = ""
        self.requests: list[web.Request] = []
        self.bodies: list[bytes] = []
        self.raw_paths: list[str] = []
        self._answers: dict[str, list[Answer]] = {}
        self.at_once = 0
        self.most_at_once = 0

    def script(self, path: str, *answers: Answer | dict[str, Any] | list[Any]) -> None:
        """Answer the path with these in turn; the last one for ever."""
        self._answers[path] = [
            web.json_response(found) if isinstance(found, dict | list) else found
            for found in answers
        ]

    def titles(self) -> list[str]:
        return [f"{request.method} {request.path}" for request in self.requests]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        self.bodies.append(await request.read())
        self.raw_paths.append(request.raw_path)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            return await self._answer(request)
        finally:
            self.at_once -= 1

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/fapi/v1/time" and request.path not in self._answers:
            return web.json_response({"serverTime": wall_ms()})
        answers = self._answers[request.path]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, web.Response):
            return web.Response(status=answer.status, body=answer.body, headers=answer.headers)
        assert callable(answer)
        return await answer(request)


def client_of(url: str, **changes: Any) -> ApiClient:
    given: dict[str, Any] = {
        "dialect": BINANCE,
        "clock": VenueClock(),
        "signer": HmacSigner(KEY, SECRET),
        "timeout_s": 5.0,
    }
    return ApiClient(rest_url=url, **(given | changes))


async def never_answer(request: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    return web.Response()
