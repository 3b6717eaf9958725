"""Money is conserved to the last digit, whatever is done, and the same is done again the same."""

from __future__ import annotations

import collections
import contextlib
import random
import tempfile
from pathlib import Path

from exchange_market import Exchange, Minute
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from milo.exchange.clearing import CutOrder, Slicing
from milo.exchange.notices import Notice
from milo.exchange.refusals import ApiRefusal
from milo.model import OrderStatus, OrderType

_FUNDING_EVE_MS = 1_767_225_600_000 + 7 * 3_600_000


def _wild_minutes(rng: random.Random, count: int) -> list[Minute]:
    """Return minutes that jump and swing enough to meet stops, targets and liquidations."""
    price, minutes = 600_000, []
    for _ in range(count):
        first = max(300_000, price + rng.randint(-3_000, 3_000))
        high = first + rng.randint(0, 12_000)
        low = max(250_000, first - rng.randint(0, 12_000))
        price = rng.randint(low, high)
        minutes.append(tuple(f"{tenths / 10:.1f}" for tenths in (first, high, low, price)))
    return minutes  # type: ignore[return-value]  # four texts each


def _act(exchange: Exchange, rng: random.Random) -> None:
    """Do one thing that a client may do, legal or not."""
    side = rng.choice(("BUY", "SELL"))
    quantity = f"{rng.choice((2, 5, 20, 100, 500)) / 1000:.3f}"
    last = exchange.venue.price("BTCUSDT") // 10_000_000
    price = f"{(last + rng.randint(-9_000, 9_000)) / 10:.1f}"
    reduces = rng.choice(("true", "false"))
    kind = rng.choice(("STOP_MARKET", "TAKE_PROFIT_MARKET", "STOP", "TAKE_PROFIT"))
    match rng.randrange(10):
        case 0 | 1:
            exchange.order(side=side, type="MARKET", quantity=quantity, reduceOnly=reduces)
        case 2 | 3:
            exchange.limit(side, quantity, price, reduceOnly=reduces)
        case 4:
            kind = rng.choice(("STOP_MARKET", "TAKE_PROFIT_MARKET"))
            exchange.algo(side, kind, triggerPrice=price, closePosition="true")
        case 5:
            limit = {} if kind.endswith("MARKET") else {"price": price}
            exchange.algo(side, kind, triggerPrice=price, quantity=quantity, **limit)
        case 6:
            exchange.algo(side, "TRAILING_STOP_MARKET", quantity=quantity, callbackRate="0.4")
        case 7:
            exchange.leverage(rng.choice((3, 20, 50, 100)))
        case 8:
            order = rng.choice(list(exchange.state.orders.values()) or [None])
            if order is not None:
                exchange.venue.orders.cancel("BTCUSDT", order.order_id, None)
        case 9:
            rng.choice((exchange.venue.orders, exchange.venue.algos)).cancel_all("BTCUSDT")


class _Faults:
    """What faults do to the account, at random."""

    def __init__(self, exchange: Exchange, rng: random.Random) -> None:
        self._venue = exchange.venue
        self._rng = rng
        self._pieces: list[CutOrder] = []

    def strike(self) -> None:
        """Let one fault begin, end or strike."""
        venue, rng = self._venue, self._rng
        match rng.randrange(6):
            case 0:
                venue.clearing.slicing = Slicing(
                    fault_id=1, parts=rng.randint(1, 5), pause_ms=1, is_dry=rng.random() < 0.3
                )
            case 1:
                venue.clearing.slicing = None
            case 2:
                venue.algos.is_stuck = True
            case 3:
                venue.algos.is_stuck = False
                venue.release_stuck()
            case 4:
                venue.force_funding(rng.randint(-500_000, 500_000))
            case 5 if rng.random() < 0.2:
                venue.force_liquidation()
        self.go_on(most=2)
        venue.clearing.take_notices()
        venue.follow_exposure()

    def go_on(self, most: int) -> None:
        """Fill some of the pieces that wait."""
        self._pieces += self._venue.clearing.cut_orders
        self._venue.clearing.cut_orders = []
        for piece in self._pieces[:most]:
            if not self._venue.fill_piece(piece):
                self._pieces.remove(piece)

    def end(self) -> None:
        """Take all faults away."""
        self._venue.clearing.slicing = None
        self._venue.algos.is_stuck = False
        self._venue.release_stuck()
        while self._pieces or self._venue.clearing.cut_orders:
            self.go_on(most=5)
        self._venue.clearing.take_notices()
        self._venue.follow_exposure()


def _run_with_faults(seed: int) -> Exchange:
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        exchange = Exchange(
            Path(folder), _wild_minutes(rng, 120), balance="10000", start_ms=_FUNDING_EVE_MS
        )
        faults = _Faults(exchange, rng)
        for _ in range(90):
            with contextlib.suppress(ApiRefusal):
                _act(exchange, rng)
            _check(exchange)
            faults.strike()
            _check(exchange)
            exchange.play(rng.choice((0.3, 0.7, 1.0)))
            _check(exchange)
        faults.end()
        _check(exchange)
    return exchange


def _run(seed: int) -> Exchange:
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        exchange = Exchange(
            Path(folder), _wild_minutes(rng, 120), balance="10000", start_ms=_FUNDING_EVE_MS
        )
        for _ in range(90):
            with contextlib.suppress(ApiRefusal):
                _act(exchange, rng)
            _check(exchange)
            exchange.play(rng.choice((0.3, 0.7, 1.0, 2.0)))
            _check(exchange)
        exchange.play()
        _check(exchange)
    return exchange


def _check(exchange: Exchange) -> None:
    state = exchange.state
    realized = sum(trade.realized for trade in state.trades)
    fees = sum(trade.fee for trade in state.trades)
    funding = sum(line.amount for line in state.incomes if line.kind == "FUNDING_FEE")
    assert state.wallet == state.start_balance + realized - fees + funding
    assert state.wallet == sum(line.amount for line in state.incomes)
    held = {symbol: position.qty for symbol, position in state.positions.items()}
    bought = sum(trade.side.sign * trade.qty for trade in state.trades)
    assert held.get("BTCUSDT", 0) == bought
    for position in state.positions.values():
        assert position.wallet >= 0
        assert position.qty or not position.wallet
    for algo in state.all_open_algos():
        position = state.position(algo.symbol)
        assert not algo.is_gte or position.sign == -algo.side.sign


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(min_value=0, max_value=2**32))
def test_wallet_is_start_plus_realised_minus_fees_plus_funding(seed: int) -> None:
    exchange = _run(seed)

    assert exchange.venue.is_finished


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(min_value=0, max_value=2**32))
def test_the_wallet_adds_up_under_partial_fills_forced_funding_and_liquidation(seed: int) -> None:
    exchange = _run_with_faults(seed)

    assert not [o for o in exchange.state.all_open_orders() if o.type is OrderType.MARKET]
    for order in exchange.state.orders.values():
        assert order.filled <= order.qty


def test_random_faults_reach_partial_fills_rests_and_stuck_triggers() -> None:
    ends: set[str] = set()
    for seed in range(12):
        exchange = _run_with_faults(seed)
        counts = collections.Counter(trade.order_id for trade in exchange.state.trades)
        ends |= {"pieces" for count in counts.values() if count > 1}
        ends |= {
            "rest"
            for order in exchange.state.orders.values()
            if 0 < order.filled < order.qty and order.status is OrderStatus.EXPIRED
        }
        ends |= {
            "forced"
            for order in exchange.state.orders.values()
            if order.client_id.startswith("autoclose-")
        }
        ends |= {
            "late" for algo in exchange.state.algos.values() if algo.trigger_ms < algo.update_ms
        }

    assert ends == {"pieces", "rest", "forced", "late"}


def test_the_same_acts_give_the_same_notices(tmp_path: Path) -> None:
    first, second = _run(7), _run(7)

    assert _told(first) == _told(second)
    assert first.state.trades


def test_random_acts_reach_every_kind_of_end() -> None:
    kinds: set[str] = set()
    for seed in range(12):
        exchange = _run(seed)
        kinds |= {line.kind for line in exchange.state.incomes}
        kinds |= {algo.status.value for algo in exchange.state.algos.values()}

    assert kinds >= {
        "TRANSFER", "REALIZED_PNL", "COMMISSION", "FUNDING_FEE", "INSURANCE_CLEAR",
        "FINISHED", "EXPIRED", "REJECTED",
    }  # fmt: skip


def _told(exchange: Exchange) -> list[Notice]:
    return exchange.notices
