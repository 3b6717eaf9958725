"""The account's statement over REST: what moved the wallet besides trades (layer 1)."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from milo.model import FundingPayment
from milo.wire.limits import Cost
from milo.wire.rest import Request, Security, WireStruct, decode, given

MOST_ROWS = 1000


class _Income(WireStruct):
    symbol: str
    income: Decimal
    time: int


_INCOMES = msgspec.json.Decoder(list[_Income])


def funding_payments(symbol: str, *, start_ms: int) -> Request[tuple[FundingPayment, ...]]:
    """Return the request for a symbol's funding payments since `start_ms`, oldest first.

    The venue gives at most 1,000 rows of the last three months; an answer costs weight 30.
    """
    return Request(
        method="GET",
        path="/fapi/v1/income",
        params=given(
            ("symbol", symbol),
            ("incomeType", "FUNDING_FEE"),
            ("startTime", start_ms),
            ("limit", MOST_ROWS),
        ),
        security=Security.SIGNED,
        cost=Cost(weight=30),
        parse=_read_incomes,
    )


def _read_incomes(body: bytes) -> tuple[FundingPayment, ...]:
    rows = decode(body, _INCOMES, what="income")
    return tuple(
        FundingPayment(symbol=row.symbol, amount=row.income, time_ms=row.time) for row in rows
    )
