"""The judge on small hand-made ledgers: each promise broken, and kept."""

from __future__ import annotations

from typing import Any

import pytest

from tests.chaos.books import Entry, compare_books
from tests.chaos.judge import (
    DURING_PAUSE,
    EXPOSED,
    INVARIANTS,
    LEFT_OVER,
    STOPS_CANCELLED,
    TWICE,
    Started,
    Verdict,
    judge,
)
from tests.chaos.ledger import Line, parse_id

ENTRY, STOP = "milo-run00001-aaaaaaaaaa-e", "milo-run00001-aaaaaaaaaa-s"
CLOSE = "milo-run00001-aaaaaaaaaa-c"


class Book:
    """Writes a ledger; every method appends lines at a wall time in ms."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self._n = 0
        self.add(0, "start", pid=1, account="abc", wallet="10000", speed=60)

    def add(self, t: float, kind: str, **more: Any) -> None:
        self.lines.append({"t": float(t), "clock": int(t * 60), "kind": kind, **more})

    def request(
        self, t: float, method: str, path: str, *, protective: bool = False, **params: Any
    ) -> int:
        self._n += 1
        self.add(t, "request", n=self._n, method=method, path=f"/fapi/v1/{path}",
                 params={"symbol": "BTCUSDT", **params}, protective=protective)  # fmt: skip
        return self._n

    def answer(
        self, t: float, n: int, status: int = 200, *, code: int = 0, lost: bool = False
    ) -> None:
        self.add(t, "answer", n=n, status=status, code=code, lost=lost)

    def order(self, t: float, number: int, client_id: str, **more: Any) -> None:
        given = {
            "side": "BUY", "type": "MARKET", "status": "FILLED", "qty": "1", "filled": "1",
            "price": "100", "reduce_only": False, "close_position": False, "algo_id": 0,
            "execution": "TRADE",
        }  # fmt: skip
        self.add(t, "order", order_id=number, client_id=client_id, symbol="BTCUSDT",
                 **{**given, **more})  # fmt: skip

    def algo(self, t: float, number: int, client_id: str, status: str, **more: Any) -> None:
        given = {
            "side": "SELL", "type": "STOP_MARKET", "trigger_price": "99", "qty": "0",
            "close_position": True, "reduce_only": True, "order_id": 0,
        }  # fmt: skip
        self.add(t, "algo", algo_id=number, client_id=client_id, symbol="BTCUSDT", status=status,
                 **{**given, **more})  # fmt: skip

    def position(self, t: float, qty: str) -> None:
        self.add(t, "position", symbol="BTCUSDT", qty=qty, entry="100", wallet="0")

    def trade(self, t: float, number: int, order_id: int, client_id: str, **more: Any) -> None:
        given = {
            "side": "BUY", "qty": "1", "price": "100", "realized": "0", "fee": "0.05",
            "forced": False,
        }  # fmt: skip
        self.add(t, "trade", trade_id=number, order_id=order_id, client_id=client_id,
                 symbol="BTCUSDT", **{**given, **more})  # fmt: skip

    def fault(self, t: float, at: str, blocks: str = "all", name: str = "restart") -> None:
        self.add(t, "fault", id=1, name=name, at=at, blocks=blocks)

    def wallet(self, t: float, amount: str, reason: str = "ORDER", change: str = "0") -> None:
        self.add(t, "account", wallet=amount, reason=reason, change=change)

    def enter(self, t: float, *, stop_t: float | None = None) -> None:
        """An entry of 1 filled at once, and its stop where a time is given."""
        n = self.request(t, "POST", "order", side="BUY", quantity="1", newClientOrderId=ENTRY)
        self.order(t, 1, ENTRY)
        self.trade(t, 1, 1, ENTRY)
        self.position(t, "1")
        self.answer(t, n)
        if stop_t is not None:
            self.algo(stop_t, 1, STOP, "NEW")

    def end(self, t: float) -> Verdict:
        self.add(t, "end")
        return judge(self.lines)


@pytest.fixture
def book() -> Book:
    return Book()


def broken(verdict: Verdict) -> dict[str, int]:
    return {name: round(verdict.value(name)) for name in INVARIANTS if verdict.value(name)}


def test_a_client_id_is_taken_apart() -> None:
    found = parse_id("milo-0mb2xyzq-0123456789-s91")

    assert found is not None
    assert (found.run, found.key, found.leg, found.attempt) == (
        "0mb2xyzq", "0123456789", "s", "91",
    )  # fmt: skip
    assert parse_id("autoclose-17") is None


# --- exposure ---------------------------------------------------------------------------------


def test_a_stop_within_three_seconds_is_good(book: Book) -> None:
    book.enter(1_000, stop_t=3_900)

    verdict = book.end(20_000)

    assert broken(verdict) == {}
    assert [one.length_ms for one in verdict.exposures] == [2_900]


def test_a_position_without_stop_is_a_breach_by_what_exceeds_three_seconds(book: Book) -> None:
    book.enter(1_000, stop_t=4_500)

    assert broken(book.end(20_000)) == {EXPOSED: 500}


def test_an_exposure_until_the_end_of_the_ledger_counts(book: Book) -> None:
    book.enter(1_000)

    assert broken(book.end(6_000)) == {EXPOSED: 2_000}


@pytest.mark.parametrize(
    ("change", "is_protected"),
    [
        ({"side": "BUY"}, False),
        ({"type": "TAKE_PROFIT_MARKET"}, False),
        ({"close_position": False, "qty": "0.9"}, False),
        ({"close_position": False, "reduce_only": False, "qty": "1"}, False),
        ({"close_position": False, "qty": "1"}, True),
        ({"type": "STOP", "close_position": False, "qty": "1.5"}, True),
        ({"status": "TRIGGERING"}, True),
        ({"status": "CANCELED"}, False),
        ({"status": "TRIGGERED", "order_id": 77}, False),
    ],
)
def test_only_a_live_stop_that_covers_all_protects(
    book: Book, change: dict[str, Any], is_protected: bool
) -> None:
    book.enter(1_000)
    book.algo(1_100, 1, STOP, change.pop("status", "NEW"), **change)

    verdict = book.end(6_000)

    assert broken(verdict) == ({} if is_protected else {EXPOSED: 2_000})


def test_a_triggered_stop_protects_while_its_order_is_open(book: Book) -> None:
    book.enter(1_000, stop_t=1_100)
    book.algo(2_000, 1, STOP, "TRIGGERED", order_id=2)
    book.order(2_000, 2, STOP, side="SELL", status="PARTIALLY_FILLED", filled="0.4")
    book.position(2_000, "0.6")
    book.order(7_000, 2, STOP, side="SELL", status="EXPIRED", filled="0.4")

    assert broken(book.end(11_000)) == {EXPOSED: 1_000}


def test_a_closing_request_under_way_counts_until_its_answer(book: Book) -> None:
    book.enter(1_000)
    n = book.request(1_100, "POST", "order", protective=True, side="SELL", quantity="1",
                     reduceOnly="true", newClientOrderId=CLOSE)  # fmt: skip
    book.answer(5_000, n, 503, lost=True)

    verdict = book.end(9_000)

    assert broken(verdict) == {EXPOSED: 1_000}


@pytest.mark.parametrize(("qty", "is_good"), [("1", True), ("0.5", False)])
def test_an_open_closing_order_must_close_all(book: Book, qty: str, is_good: bool) -> None:
    book.enter(1_000)
    book.order(1_100, 2, CLOSE, side="SELL", status="NEW", qty=qty, filled="0", reduce_only=True)

    assert broken(book.end(6_000)) == ({} if is_good else {EXPOSED: 2_000})


@pytest.mark.parametrize("blocks", ["all", "protective"])
def test_time_in_which_protection_was_impossible_is_subtracted(book: Book, blocks: str) -> None:
    book.enter(1_000)
    book.fault(2_000, "begin", blocks)
    book.fault(6_000, "end", blocks)
    book.algo(7_000, 1, STOP, "NEW")

    verdict = book.end(20_000)

    assert broken(verdict) == {}
    assert verdict.exposures[0].subtracted_ms == 4_100


def test_a_fault_that_blocks_nothing_is_no_excuse(book: Book) -> None:
    book.enter(1_000)
    book.fault(2_000, "begin", "none", "ws_silence")
    book.fault(6_000, "end", "none", "ws_silence")
    book.algo(7_000, 1, STOP, "NEW")

    assert broken(book.end(20_000)) == {EXPOSED: 3_000}


def test_two_faults_at_a_time_are_subtracted_once(book: Book) -> None:
    book.enter(1_000)
    for number in (1, 2):
        book.add(2_000, "fault", id=number, name="restart", at="begin", blocks="all")
    for number in (1, 2):
        book.add(3_000, "fault", id=number, name="restart", at="end", blocks="all")
    book.algo(5_200, 1, STOP, "NEW")

    assert broken(book.end(20_000)) == {EXPOSED: 100}


# --- executed twice ---------------------------------------------------------------------------


def test_one_client_id_filled_as_two_orders_is_a_breach(book: Book) -> None:
    book.enter(1_000, stop_t=1_100)
    book.order(2_000, 2, ENTRY, qty="0.001", filled="0.001")

    assert TWICE in broken(book.end(3_000))


def test_one_signal_filled_by_two_runs_is_a_breach(book: Book) -> None:
    book.enter(1_000, stop_t=1_100)
    book.order(2_000, 2, "milo-run00002-aaaaaaaaaa-e")

    assert broken(book.end(3_000)) == {TWICE: 1}


def test_a_signal_whose_first_order_ran_dry_may_be_completed(book: Book) -> None:
    book.enter(1_000, stop_t=1_100)
    book.order(1_000, 1, ENTRY, status="EXPIRED", filled="0.4")
    book.order(2_000, 2, "milo-run00002-aaaaaaaaaa-e2", qty="0.6", filled="0.6")

    assert broken(book.end(3_000)) == {}


def test_a_partial_close_executed_twice_is_a_breach(book: Book) -> None:
    book.enter(1_000, stop_t=1_100)
    for number, run in ((2, "run00001"), (3, "run00002")):
        book.order(2_000, number, f"milo-{run}-bbbbbbbbbb-c", side="SELL", qty="0.5",
                   filled="0.5", reduce_only=True)  # fmt: skip

    assert broken(book.end(3_000)) == {TWICE: 1}


# --- leftovers --------------------------------------------------------------------------------


def closed(book: Book, t: float) -> None:
    book.order(t, 9, CLOSE, side="SELL", reduce_only=True)
    book.position(t, "0")


def test_a_stop_that_outlives_its_position_by_five_seconds_is_left_over(book: Book) -> None:
    book.enter(1_000, stop_t=1_100)
    closed(book, 2_000)
    book.add(7_100, "funny")
    book.algo(7_200, 1, STOP, "CANCELED")

    assert broken(book.end(9_000)) == {LEFT_OVER: 1}


def test_a_stop_without_any_position_is_left_over(book: Book) -> None:
    book.algo(1_000, 1, STOP, "NEW")

    assert broken(book.end(6_100)) == {LEFT_OVER: 1}


def test_a_stop_cancelled_in_time_is_no_leftover(book: Book) -> None:
    book.enter(1_000, stop_t=1_100)
    closed(book, 2_000)
    book.algo(6_900, 1, STOP, "CANCELED")

    assert broken(book.end(9_000)) == {}


def test_an_order_of_ours_left_at_the_end_is_left_over_at_once(book: Book) -> None:
    book.enter(1_000, stop_t=1_100)
    closed(book, 8_000)

    assert broken(book.end(9_000)) == {LEFT_OVER: 1}


def test_orders_of_others_are_not_ours_to_clear(book: Book) -> None:
    book.enter(1_000)
    book.algo(1_100, 1, "android_xyz", "NEW")
    closed(book, 2_000)

    assert broken(book.end(9_000)) == {}


# --- cancelled stops --------------------------------------------------------------------------


def cancel(book: Book, t: float, client_id: str) -> None:
    book.request(t, "DELETE", "algoOrder", protective=True, clientAlgoId=client_id)


def test_cancelling_the_only_stop_is_a_breach(book: Book) -> None:
    book.enter(1_000, stop_t=1_100)
    cancel(book, 2_000, STOP)

    assert broken(book.end(3_000)) == {STOPS_CANCELLED: 1}


def test_a_stop_may_go_once_another_one_stands(book: Book) -> None:
    book.enter(1_000, stop_t=1_100)
    book.algo(1_900, 2, f"{STOP}2", "NEW")
    cancel(book, 2_000, STOP)

    assert broken(book.end(3_000)) == {}


def test_a_stop_may_go_once_all_is_being_closed(book: Book) -> None:
    book.enter(1_000, stop_t=1_100)
    book.request(1_900, "POST", "order", protective=True, side="SELL", quantity="1",
                 reduceOnly="true", newClientOrderId=CLOSE)  # fmt: skip
    cancel(book, 2_000, STOP)

    assert broken(book.end(3_000)) == {}


def test_cancelling_everything_of_the_symbol_is_cancelling_its_stop(book: Book) -> None:
    book.enter(1_000, stop_t=1_100)
    book.request(2_000, "DELETE", "algoOpenOrders", protective=True)

    assert broken(book.end(3_000)) == {STOPS_CANCELLED: 1}


# --- pauses -----------------------------------------------------------------------------------


def paused(book: Book) -> None:
    n = book.request(1_000, "GET", "balance")
    book.answer(1_000, n, 429)
    book.add(1_000, "pause", until_t=3_000.0)


def test_a_request_during_a_pause_is_a_breach(book: Book) -> None:
    paused(book)
    book.request(1_500, "GET", "balance")

    assert broken(book.end(4_000)) == {DURING_PAUSE: 1}


def test_what_was_under_way_protects_or_comes_after_the_pause_is_good(book: Book) -> None:
    paused(book)
    book.request(1_040, "GET", "balance")
    book.request(1_500, "POST", "algoOrder", protective=True)
    book.request(3_001, "GET", "balance")

    assert broken(book.end(4_000)) == {}


def test_the_time_may_be_asked_for_where_what_protects_was_refused_for_it(book: Book) -> None:
    paused(book)
    n = book.request(1_500, "POST", "algoOrder", protective=True)
    book.answer(1_510, n, 400, code=-1021)
    book.request(1_520, "GET", "time")
    assert broken(book.end(4_000)) == {}

    book.lines.pop()
    book.request(1_530, "GET", "time")
    assert broken(book.end(4_000)) == {DURING_PAUSE: 1}


def test_nobody_knows_of_a_pause_that_was_told_to_a_dead_process(book: Book) -> None:
    n = book.request(1_000, "GET", "balance")
    book.answer(1_900, n, 429)
    book.add(1_900, "pause", until_t=3_000.0, heard=False)
    book.request(2_500, "GET", "balance")
    book.add(4_000, "end")

    verdict = judge(book.lines, [])

    assert broken(verdict) == {}
    assert verdict.unheard_pauses == 1


def test_a_newcomer_is_told_of_a_pause_by_its_first_refusal(book: Book) -> None:
    paused(book)
    n = book.request(1_500, "GET", "time")
    book.answer(1_510, n, 429)
    book.request(1_900, "GET", "balance")
    book.add(4_000, "end")

    verdict = judge(book.lines, [Started(t=400, who="engine")])

    assert broken(verdict) == {DURING_PAUSE: 1}
    assert verdict.requests_of_newcomers == 1


def test_who_asks_for_the_time_long_after_a_start_is_no_newcomer(book: Book) -> None:
    paused(book)
    book.request(1_500, "GET", "time")
    book.add(4_000, "end")

    verdict = judge(book.lines, [Started(t=-9_000, who="engine"), Started(t=2_000, who="guard")])

    assert broken(verdict) == {DURING_PAUSE: 1}


# --- the books --------------------------------------------------------------------------------


def journal(*, fee: str = "0.05", wallet: str = "9999.95", qty: str = "1") -> list[Entry]:
    fill = {"trade_id": 1, "qty": "1.0", "price": "100", "realized": "0", "fee": fee}
    read = {
        "balance": {"wallet": wallet},
        "positions": [{"symbol": "BTCUSDT", "qty": qty}],
        "orders": [],
    }
    return [
        Entry("run00001", "event.OrderEvent", {"fill": fill}),
        Entry("run00001", "event.OrderEvent", {"fill": None}),
        Entry("run00001", "event.AccountRead", read),
    ]


def result(**changes: Any) -> dict[str, Any]:
    row = {
        "symbol": "BTCUSDT", "side": "long", "qty": "1", "exit_time": None, "fees": "0.05",
        "funding": "0", "profit": "-0.05",
    }  # fmt: skip
    row |= changes.pop("row", {})
    return {"final_balance": "9999.95", "trades": [row], "all_trades": [row]} | changes


@pytest.fixture
def read_book(book: Book) -> Book:
    book.enter(1_000, stop_t=1_100)
    book.wallet(1_000, "9999.95")
    for path in ("balance", "positionRisk"):
        book.answer(2_000, book.request(2_000, "GET", path))
    return book


def test_books_that_agree_are_good(read_book: Book) -> None:
    assert compare_books(read_book.lines, journal(), result(), 9_000.0) == []


@pytest.mark.parametrize(
    ("entries", "summary"),
    [
        (journal(fee="0.06"), result()),
        (journal(wallet="10000"), result()),
        (journal(qty="0.9"), result()),
        (journal()[1:], result()),
        (journal(), None),
        (journal(), result(final_balance="9999.96")),
        (journal(), result(row={"qty": "0.9"})),
        (journal(), result(row={"side": "short"})),
        (journal(), result(row={"fees": "0.06"})),
        (journal(), result(row={"funding": "1"})),
        (journal(), result(row={"profit": "0"})),
        (
            [*journal(), Entry("r", "event.FillFound", {"fill": {"trade_id": 2}})],
            result(),
        ),
    ],
)
def test_each_difference_between_the_books_is_found(
    read_book: Book, entries: list[Entry], summary: dict[str, Any] | None
) -> None:
    assert len(compare_books(read_book.lines, entries, summary, 9_000.0)) == 1


def test_forced_executions_belong_into_the_journal_too(read_book: Book) -> None:
    read_book.trade(3_000, 2, 3, "autoclose-3", side="SELL", forced=True, fee="0")
    read_book.trade(3_000, 3, 4, "android_x", fee="0")

    found = compare_books(read_book.lines, journal(), result(), 9_000.0)

    assert [one.text for one in found] == ["execution 2 is not in the journal"]


def test_what_was_executed_as_the_last_engine_left_is_not_missed(read_book: Book) -> None:
    read_book.wallet(8_990, "9999")
    read_book.trade(8_990, 2, 3, "milo-run00001-aaaaaaaaaa-s", side="SELL", fee="0.05")

    assert compare_books(read_book.lines, journal(), result(), 9_000.0) == []


def test_what_was_executed_a_second_before_the_end_is_missed(read_book: Book) -> None:
    read_book.trade(7_990, 2, 3, "milo-run00001-aaaaaaaaaa-s", side="SELL", fee="0.05")

    found = compare_books(read_book.lines, journal(), result(), 9_000.0)

    assert "execution 2 is not in the journal" in [one.text for one in found]


def test_an_execution_before_one_that_was_told_is_missed(read_book: Book) -> None:
    read_book.trade(8_980, 2, 3, "milo-run00001-aaaaaaaaaa-s", side="SELL", qty="0.5", fee="0")
    read_book.trade(8_990, 3, 3, "milo-run00001-aaaaaaaaaa-s", side="SELL", qty="0.5", fee="0")
    last = {"trade_id": 3, "qty": "0.5", "price": "100", "realized": "0", "fee": "0"}
    entries = [*journal(), Entry("run00001", "event.OrderEvent", {"fill": last})]

    found = compare_books(read_book.lines, entries, result(), 9_000.0)

    assert "execution 2 is not in the journal" in [one.text for one in found]
