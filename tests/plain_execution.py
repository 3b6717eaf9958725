"""A second executor for backtests, plain and slow, written from the rules alone.

It goes through every moment of every candle in order of time, in decimals, and knows nothing of
milo.backtest beyond the words of its input and output. Sizing, protection and gates are the live
run's own, which their own tests judge.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, ROUND_HALF_UP, Decimal, localcontext
from fractions import Fraction

from milo import gates
from milo.backtest.decisions import Decisions
from milo.backtest.ledger import Assumptions, FillAt, Intrabar, Refusal, Trade
from milo.backtest.slot import Slot
from milo.gates.verdict import GateInput, SizedInput
from milo.intervals import DAY_MS, INTERVAL_MS, close_ms_of
from milo.model import CommissionRate, DistanceKind, EntryIntent, ExitIntent, ExitReason
from milo.money import plain
from milo.orders.protection import Unprotectable, plan_protection
from milo.orders.sizing import (
    EntryRefused,
    ExitRefused,
    Sized,
    SizingInput,
    size_entry,
    size_exit,
)
from milo.script.actions import parse_action
from milo.ta import atr

ZERO = Decimal(0)
UNIT = Decimal("0.00000001")
EIGHT_HOURS = 8 * 3_600_000


def rounded(value: Fraction | Decimal, mode: str) -> Decimal:
    """Return the value in whole units of 1e-8."""
    exact = Fraction(value)
    with localcontext() as context:
        context.prec = 60
        return (Decimal(exact.numerator) / Decimal(exact.denominator)).quantize(UNIT, mode)


def cut(value: Fraction | Decimal) -> Decimal:
    return rounded(value, ROUND_DOWN)


@dataclass
class Held:
    """An open position."""

    intent: EntryIntent
    sign: int
    qty: Decimal
    entry_qty: Decimal
    leverage: int
    entry_index: int
    entry_ms: int
    entry: Decimal
    margin: Decimal
    risk: Decimal
    stop: Decimal
    target: Decimal | None
    first_liquidation: Decimal | None
    fees: Decimal
    funding: Decimal = ZERO


@dataclass
class Waiting:
    index: int
    action: str
    run: int
    part: Decimal = ZERO
    entry: EntryIntent | None = None
    sized: Sized | None = None


@dataclass
class Book:
    """One slot."""

    slot: Slot
    first: int
    end: int
    actions: list[str]
    held: Held | None = None
    waiting: Waiting | None = None
    refused_run: int = -1
    runs: list[int] = field(default_factory=list)


@dataclass
class PlainLedger:
    trades: list[Trade] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    wallet: Decimal = ZERO
    fees: Decimal = ZERO
    funding: Decimal = ZERO
    equity: dict[int, Decimal] = field(default_factory=dict)
    exposed: dict[int, bool] = field(default_factory=dict)
    liquidations: int = 0
    ambiguous: int = 0
    settlements: int = 0
    unknown_settlements: int = 0
    halted_days: set[int] = field(default_factory=set)


class PlainExecution:
    def __init__(
        self, slots: Sequence[Slot], decisions: Sequence[Decisions], assumptions: Assumptions
    ) -> None:
        self.a = assumptions
        # Eight decimals, as the wallet of a live run is read: refusals show them.
        self.ledger = PlainLedger(wallet=assumptions.start_balance.quantize(UNIT))
        self.day = -1
        self.day_wallet = assumptions.start_balance
        self.books = []
        for slot, made in zip(slots, decisions, strict=True):
            end = made.first + made.count
            actions = [made.action_at(index) for index in range(len(slot.candles))]
            book = Book(slot, made.first, end, actions)
            number = -1
            for index, action in enumerate(actions):
                if not index or action != actions[index - 1]:
                    number = index
                book.runs.append(number)
            self.books.append(book)

    def run(self) -> PlainLedger:
        moments = []
        closes = set()
        for number, book in enumerate(self.books):
            for index in range(book.first, book.end):
                open_ms = int(book.slot.candles.open_ms[index])
                close_ms = close_ms_of(open_ms, book.slot.interval)
                closes.add(close_ms)
                moments.append((open_ms, 1, number, index, ZERO, True))
                moments.append((close_ms, 2, number, index, ZERO, True))
                moments.append((close_ms, 3, number, index, ZERO, True))
                moments.append((close_ms, 4, number, index, ZERO, True))
            for time_ms, rate, is_known in self.settlements(book):
                moments.append((time_ms, 0, number, 0, rate, is_known))
        for time_ms, phase, number, index, rate, is_known in sorted(moments):
            book = self.books[number]
            if phase == 0:
                self.settle(book, time_ms, rate, is_known)
            elif phase == 1:
                self.at_open(book, index, time_ms)
            elif phase == 2:
                self.within(book, index, time_ms)
            elif phase == 3:
                self.decide(book, index, time_ms)
            else:
                self.ledger.equity[time_ms] = self.equity(time_ms)
                self.ledger.exposed[time_ms] = any(b.held for b in self.books)
        for book in self.books:
            if book.held is not None:
                price = self.price(book, book.end - 1, "close")
                time_ms = self.close_ms(book, book.end - 1)
                held = book.held
                profit = cut((price - held.entry) * held.sign * held.qty)
                self.row(
                    book, held.qty, book.end - 1, time_ms, price, ExitReason.CLOSE, profit, ZERO,
                    is_open=True,
                )  # fmt: skip
        return self.ledger

    # --- the market ---------------------------------------------------------------------------

    def price(self, book: Book, index: int, name: str) -> Decimal:
        return Decimal(repr(float(getattr(book.slot.candles, name)[index])))

    def open_ms(self, book: Book, index: int) -> int:
        return int(book.slot.candles.open_ms[index])

    def close_ms(self, book: Book, index: int) -> int:
        return close_ms_of(self.open_ms(book, index), book.slot.interval)

    def last_price(self, book: Book, time_ms: int) -> Decimal:
        price = self.price(book, 0, "open")
        for index in range(len(book.slot.candles)):
            if self.open_ms(book, index) > time_ms:
                break
            price = self.price(book, index, "open")
            if self.close_ms(book, index) <= time_ms:
                price = self.price(book, index, "close")
        return price

    def settlements(self, book: Book) -> list[tuple[int, Decimal, bool]]:
        start = self.open_ms(book, book.first)
        end = self.close_ms(book, book.end - 1)
        stored = {}
        history = book.slot.funding
        if history is not None:
            for time_ms, rate in zip(
                history.times_ms.tolist(), history.rates.tolist(), strict=True
            ):
                stored[time_ms - time_ms % 1000] = rounded(Decimal(repr(rate)), ROUND_HALF_UP)
        found = [(t, rate, True) for t, rate in stored.items() if start <= t <= end]
        time_ms = start - start % EIGHT_HOURS
        while time_ms <= end:
            is_stored = any(time_ms - EIGHT_HOURS < t <= time_ms for t in stored)
            if time_ms >= start and not is_stored:
                found.append((time_ms, self.a.funding_rate, False))
            time_ms += EIGHT_HOURS
        return found

    # --- the account --------------------------------------------------------------------------

    def touch_day(self, time_ms: int) -> None:
        if time_ms // DAY_MS != self.day:
            self.day = time_ms // DAY_MS
            self.day_wallet = self.ledger.wallet

    def equity(self, time_ms: int) -> Decimal:
        total = self.ledger.wallet
        for book in self.books:
            if book.held is not None:
                held = book.held
                total += held.sign * held.qty * (self.last_price(book, time_ms) - held.entry)
        return total

    def available(self) -> Decimal:
        return self.ledger.wallet - sum((b.held.margin for b in self.books if b.held), ZERO)

    def slipped(self, book: Book, price: Decimal, sign: int) -> Decimal:
        price = rounded(price, ROUND_HALF_UP)
        if not self.a.slippage:
            return price
        tick = book.slot.contract.instrument.tick
        moved = price * (1 + sign * self.a.slippage)
        if sign > 0:
            return (moved / tick).to_integral_value(ROUND_CEILING) * tick
        return max(tick, (moved / tick).to_integral_value(ROUND_FLOOR) * tick)

    def liquidation(self, book: Book, held: Held) -> Decimal | None:
        price = ZERO
        for bracket in book.slot.contract.brackets:
            above = held.margin + bracket.cum - held.sign * held.qty * held.entry
            below = held.qty * (bracket.maint_ratio - held.sign)
            price = max(ZERO, rounded(Fraction(above) / Fraction(below), ROUND_HALF_UP))
            if cut(price * held.qty) <= bracket.cap:
                break
        return price or None

    def bankruptcy(self, held: Held) -> Decimal | None:
        exact = Fraction(held.entry) - held.sign * Fraction(held.margin) / Fraction(held.qty)
        price = rounded(exact, ROUND_CEILING if held.sign > 0 else ROUND_FLOOR)
        return price if price > 0 else None

    def settle(self, book: Book, time_ms: int, rate: Decimal, is_known: bool) -> None:
        held = book.held
        if held is None or held.entry_ms >= time_ms:
            return
        self.touch_day(time_ms)
        mark = rounded(self.last_price(book, time_ms), ROUND_HALF_UP)
        amount = max(-held.margin, cut(Fraction(-held.sign * held.qty * rate) * Fraction(mark)))
        held.margin += amount
        held.funding += amount
        self.ledger.wallet += amount
        self.ledger.funding += amount
        self.ledger.settlements += 1
        self.ledger.unknown_settlements += not is_known

    # --- a candle -----------------------------------------------------------------------------

    def at_open(self, book: Book, index: int, time_ms: int) -> None:
        held = book.held
        if held is not None:
            price = self.price(book, index, "open")
            liquidation, bankruptcy = self.liquidation(book, held), self.bankruptcy(held)
            beyond = lambda level: level is not None and held.sign * (price - level) <= 0  # noqa: E731
            is_stop_nearer = liquidation is None or held.sign * (held.stop - liquidation) >= 0
            nearer = held.stop if is_stop_nearer else liquidation
            if beyond(bankruptcy) or (beyond(nearer) and not is_stop_nearer):
                is_gap = beyond(bankruptcy) or price != nearer
                self.liquidate(book, index, time_ms, price, is_gap=is_gap)
            elif beyond(nearer):
                self.close_all(book, index, time_ms, price, ExitReason.STOP, is_gap=price != nearer)
            elif held.target is not None and held.sign * (price - held.target) >= 0:
                self.close_all(
                    book, index, time_ms, price, ExitReason.TARGET, is_gap=price != held.target
                )
        if book.waiting is not None:
            order, book.waiting = book.waiting, None
            self.fill(book, order, index, time_ms, self.price(book, index, "open"))

    def within(self, book: Book, index: int, time_ms: int) -> None:
        held = book.held
        if held is None:
            return
        high, low = self.price(book, index, "high"), self.price(book, index, "low")
        best, worst = (high, low) if held.sign > 0 else (low, high)
        liquidation = self.liquidation(book, held)
        is_stop_nearer = liquidation is None or held.sign * (held.stop - liquidation) >= 0
        adverse = held.stop if is_stop_nearer else liquidation
        assert adverse is not None
        is_adverse = held.sign * (worst - adverse) <= 0
        is_target = held.target is not None and held.sign * (best - held.target) >= 0
        is_ambiguous = False
        if is_adverse and is_target:
            assert held.target is not None
            first = self.resolve(book, index, held.sign, adverse, held.target)
            is_ambiguous = first in ("rule adverse", "rule target")
            is_adverse = first.endswith("adverse")
            is_target = not is_adverse
        if is_adverse and is_stop_nearer:
            self.close_all(
                book, index, time_ms, adverse, ExitReason.STOP,
                is_extreme=adverse == worst, is_ambiguous=is_ambiguous,
            )  # fmt: skip
        elif is_adverse:
            self.liquidate(
                book, index, time_ms, adverse,
                is_extreme=adverse == worst, is_ambiguous=is_ambiguous,
            )  # fmt: skip
        elif is_target:
            assert held.target is not None
            self.close_all(
                book, index, time_ms, held.target, ExitReason.TARGET,
                is_extreme=held.target == best, is_ambiguous=is_ambiguous,
            )  # fmt: skip

    def resolve(self, book: Book, index: int, sign: int, adverse: Decimal, target: Decimal) -> str:
        candles = book.slot.candles
        if self.a.intrabar is Intrabar.NEARER_OPEN:
            open_, high, low = (self.price(book, index, n) for n in ("open", "high", "low"))
            goes_up_first = high - open_ < open_ - low
            return "rule target" if goes_up_first == (sign > 0) else "rule adverse"
        if self.a.intrabar is Intrabar.FINER and book.slot.finer is not None:
            assert self.a.finer_interval is not None
            step = INTERVAL_MS[self.a.finer_interval]
            minutes = {candle.open_ms: candle for candle in book.slot.finer}
            start = int(candles.open_ms[index])
            for time_ms in range(start, start + INTERVAL_MS[book.slot.interval], step):
                minute = minutes.get(time_ms)
                if minute is None:
                    break
                best, worst = minute.high, minute.low
                if sign < 0:
                    best, worst = worst, best
                is_adverse = sign * (Decimal(repr(worst)) - adverse) <= 0
                is_target = sign * (Decimal(repr(best)) - target) >= 0
                opened = Decimal(repr(minute.open))
                if time_ms > start and sign * (opened - adverse) <= 0:
                    return "data adverse"
                if time_ms > start and sign * (opened - target) >= 0:
                    return "data target"
                if is_adverse and is_target:
                    break
                if is_adverse:
                    return "data adverse"
                if is_target:
                    return "data target"
        return "rule adverse"

    # --- fills --------------------------------------------------------------------------------

    def close_all(
        self,
        book: Book,
        index: int,
        time_ms: int,
        price: Decimal,
        reason: ExitReason,
        **flags: bool,
    ) -> None:
        assert book.held is not None
        self.reduce(book, book.held.qty, index, time_ms, price, reason, **flags)

    def reduce(
        self,
        book: Book,
        qty: Decimal,
        index: int,
        time_ms: int,
        price: Decimal,
        reason: ExitReason,
        **flags: bool,
    ) -> None:
        held = book.held
        assert held is not None
        fill = self.slipped(book, price, -held.sign)
        fee = cut(cut(fill * qty) * self.a.taker_fee)
        self.leave(book, qty, index, time_ms, fill, reason, fee, **flags)

    def liquidate(
        self, book: Book, index: int, time_ms: int, price: Decimal, **flags: bool
    ) -> None:
        held = book.held
        assert held is not None
        bankruptcy = self.bankruptcy(held) or ZERO
        fill = max(price, bankruptcy) if held.sign > 0 else min(price, bankruptcy)
        fill = rounded(fill, ROUND_HALF_UP)
        left = held.margin + cut((fill - held.entry) * held.sign * held.qty)
        rate = book.slot.contract.instrument.liquidation_fee
        fee = max(ZERO, min(left, cut(cut(fill * held.qty) * rate)))
        self.ledger.liquidations += 1
        self.leave(book, held.qty, index, time_ms, fill, ExitReason.LIQUIDATION, fee, **flags)

    def leave(
        self,
        book: Book,
        qty: Decimal,
        index: int,
        time_ms: int,
        fill: Decimal,
        reason: ExitReason,
        fee: Decimal,
        **flags: bool,
    ) -> None:
        held = book.held
        assert held is not None
        self.touch_day(time_ms)
        profit = cut((fill - held.entry) * held.sign * qty)
        self.ledger.wallet += profit - fee
        self.ledger.fees += fee
        self.ledger.ambiguous += flags.get("is_ambiguous", False)
        released = cut(Fraction(held.margin) * Fraction(qty) / Fraction(held.qty))
        self.row(book, qty, index, time_ms, fill, reason, profit, fee, **flags)
        held.margin -= released
        held.qty -= qty
        if not held.qty:
            book.held = None

    def row(
        self,
        book: Book,
        qty: Decimal,
        index: int,
        time_ms: int,
        price: Decimal,
        reason: ExitReason,
        profit: Decimal,
        fee: Decimal,
        **flags: bool,
    ) -> None:
        held = book.held
        assert held is not None
        share = Fraction(qty) / Fraction(held.qty)
        fees, funding = cut(Fraction(held.fees) * share), cut(Fraction(held.funding) * share)
        held.fees -= fees
        held.funding -= funding
        self.ledger.trades.append(
            Trade(
                script=book.slot.script,
                symbol=book.slot.symbol,
                direction=held.intent.direction,
                qty=qty,
                leverage=held.leverage,
                entry_index=held.entry_index,
                entry_ms=held.entry_ms,
                entry_price=held.entry,
                exit_index=index,
                exit_ms=time_ms,
                exit_price=price,
                exit_reason=reason,
                stop_price=held.stop,
                target_price=held.target,
                liquidation_price=held.first_liquidation,
                profit=profit,
                fees=fees + fee,
                funding=funding,
                risk=held.risk if qty == held.entry_qty else held.risk * qty / held.entry_qty,
                **flags,
            )
        )

    # --- decisions ----------------------------------------------------------------------------

    def decide(self, book: Book, index: int, time_ms: int) -> None:
        action = book.actions[index]
        intent = parse_action(action)
        held = book.held
        if isinstance(intent, EntryIntent):
            if held is not None and held.intent.direction is intent.direction:
                return
            margin = held.margin if held is not None else ZERO
            verdict = self.judge(book, intent, action, index, time_ms, margin)
            if isinstance(verdict, str):
                self.refuse(book, action, index, verdict)
                return
            order = Waiting(index, action, book.runs[index], entry=intent, sized=verdict)
            if held is not None:
                order.part, order.sized = held.qty, None
        elif isinstance(intent, ExitIntent) and held is not None:
            try:
                part = size_exit(intent, held.qty, book.slot.contract.instrument)
            except ExitRefused as error:
                self.refuse(book, action, index, f"{action}: {error}")
                return
            order = Waiting(index, action, book.runs[index], part=part)
        else:
            return
        if self.a.fill_at is FillAt.CLOSE:
            self.fill(book, order, index, time_ms, self.price(book, index, "close"))
        else:
            book.waiting = order

    def judge(
        self,
        book: Book,
        intent: EntryIntent,
        action: str,
        index: int,
        time_ms: int,
        freed: Decimal,
        prefix: str | None = None,
    ) -> Sized | str:
        now_ms = time_ms + (self.a.fill_at is FillAt.NEXT_OPEN)
        self.touch_day(now_ms)
        equity = self.equity(time_ms)
        lost = max(ZERO, 1 - equity / self.day_wallet) if self.day_wallet else ZERO
        limit = (self.a.max_daily_loss or ZERO) / 100
        instrument = book.slot.contract.instrument
        skip = gates.ask(
            GateInput(
                instrument=instrument,
                is_account_known=True,
                may_trade=True,
                foreign_qty=ZERO,
                unexplained_qty=ZERO,
                action=action,
                lost_today=lost,
                max_daily_loss=limit,
                other_positions=sum(
                    other is not book
                    and (
                        other.held is not None
                        or (other.waiting is not None and other.waiting.entry is not None)
                    )
                    for other in self.books
                ),
                max_open_positions=self.a.max_positions or 0,
                leverage=intent.leverage,
                max_leverage=int(self.a.max_leverage or 0),
                allowed_symbols=self.a.allowed_symbols or (),
            )
        )
        if skip is not None:
            if "--max-daily-loss" in skip.reason:
                self.ledger.halted_days.add(now_ms // DAY_MS)
            return (prefix or "") + skip.reason
        try:
            sized = size_entry(
                intent,
                SizingInput(
                    price=self.price(book, index, "close"),
                    atr=self.atr(book, intent, index),
                    equity=equity,
                    available=self.available() + freed,
                    instrument=instrument,
                    brackets=book.slot.contract.brackets,
                    fees=CommissionRate(maker=self.a.maker_fee, taker=self.a.taker_fee),
                ),
            )
            skip = gates.ask_sized(
                SizedInput(
                    loss_at_stop=sized.loss_at_stop,
                    equity=equity,
                    max_risk=(self.a.max_entry_risk or ZERO) / 100,
                )
            )
            if skip is not None:
                raise EntryRefused(skip.reason)
        except (EntryRefused, Unprotectable) as error:
            return (f"{action} not sent: " if prefix is None else prefix) + str(error)
        return sized

    def atr(self, book: Book, intent: EntryIntent, index: int) -> Decimal | None:
        kinds = [d.kind for d in (intent.stop, intent.target) if d is not None]
        if DistanceKind.ATR not in kinds:
            return None
        until = book.slot.candles.prefix(index + 1)
        value = float(atr(until.high, until.low, until.close, 14)[-1])
        return Decimal(repr(value)) if value == value else None

    def refuse(self, book: Book, action: str, index: int, reason: str) -> None:
        if book.refused_run == book.runs[index]:
            return
        book.refused_run = book.runs[index]
        self.ledger.refusals.append(
            Refusal(
                script=book.slot.script,
                symbol=book.slot.symbol,
                index=index,
                open_ms=self.open_ms(book, index),
                action=action,
                reason=reason,
            )
        )

    def fill(self, book: Book, order: Waiting, index: int, time_ms: int, price: Decimal) -> None:
        if order.part and book.held is not None:
            reason = ExitReason.CLOSE if order.entry is None else ExitReason.REVERSE
            self.reduce(book, min(order.part, book.held.qty), index, time_ms, price, reason)
        if order.entry is None:
            return
        sized: Sized | str | None = order.sized
        if sized is None:
            signal_ms = self.close_ms(book, order.index)
            sized = self.judge(
                book, order.entry, order.action, order.index, signal_ms, ZERO,
                prefix=f"{order.action} not sent after the close: ",
            )  # fmt: skip
            if isinstance(sized, str):
                self.refuse(book, order.action, order.index, sized)
                return
        assert isinstance(sized, Sized)
        self.enter(book, order, sized, index, time_ms, price)

    def enter(
        self, book: Book, order: Waiting, sized: Sized, index: int, time_ms: int, price: Decimal
    ) -> None:
        intent = order.entry
        assert intent is not None
        contract = book.slot.contract
        notional = cut(rounded(price, ROUND_HALF_UP) * sized.qty)
        caps = [b.cap for b in contract.brackets if b.max_leverage >= sized.leverage]
        needed = rounded(
            Fraction(rounded(price, ROUND_HALF_UP) * sized.qty) / sized.leverage, ROUND_CEILING
        )
        refused = None
        if notional < contract.instrument.min_notional:
            refused = (
                "Order's notional must be no smaller than "
                f"{plain(contract.instrument.min_notional)} (unless you choose reduce only)."
            )
        elif notional > max(caps, default=ZERO):
            refused = "Exceeded the maximum allowable position at current leverage."
        elif needed > self.available():
            refused = "Margin is insufficient."
        if refused is not None:
            self.refuse(
                book, order.action, order.index, f"entry refused by the exchange: {refused}"
            )
            return
        sign = intent.direction.sign
        fill = self.slipped(book, price, sign)
        fee = cut(cut(fill * sized.qty) * self.a.taker_fee)
        self.touch_day(time_ms)
        self.ledger.wallet -= fee
        self.ledger.fees += fee
        held = Held(
            intent=intent,
            sign=sign,
            qty=sized.qty,
            entry_qty=sized.qty,
            leverage=sized.leverage,
            entry_index=index,
            entry_ms=time_ms,
            entry=fill,
            margin=rounded(Fraction(fill * sized.qty) / sized.leverage, ROUND_CEILING),
            risk=sized.loss_at_stop,
            stop=sized.protection.stop_price,
            target=sized.protection.target_price,
            first_liquidation=None,
            fees=fee,
        )
        held.first_liquidation = self.liquidation(book, held)
        book.held = held
        try:
            plan = plan_protection(
                intent,
                entry_price=fill,
                qty=sized.qty,
                leverage=sized.leverage,
                atr=self.atr(book, intent, order.index),
                instrument=contract.instrument,
                brackets=contract.brackets,
            )
        except Unprotectable:
            self.close_all(book, index, time_ms, price, ExitReason.STOP)
            return
        held.stop, held.target = plan.stop_price, plan.target_price
        if sign * (price - held.stop) <= 0:
            self.close_all(book, index, time_ms, price, ExitReason.STOP)


def fields_of(trade: Trade) -> dict[str, object]:
    """Return a row's fields, for a comparison that tells which differ."""
    return {f.name: getattr(trade, f.name) for f in dataclasses.fields(trade)}
