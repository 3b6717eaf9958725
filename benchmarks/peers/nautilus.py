"""The benchmark's strategy in nautilus_trader. Run by its own interpreter: FILE.npy TICK.

A market order sent on a bar fills at once, at that bar's close, and a bar's prices come in the
order open, high, low, close: a candle with both levels hits a long's target first.
"""

import json
import sys
import time

began_s = time.perf_counter()
from decimal import Decimal  # noqa: E402

import nautilus_trader  # noqa: E402
import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig  # noqa: E402
from nautilus_trader.config import LoggingConfig, RiskEngineConfig  # noqa: E402
from nautilus_trader.indicators import (  # noqa: E402
    ExponentialMovingAverage,
    MovingAverageConvergenceDivergence,
)
from nautilus_trader.indicators import MovingAverageType as Kind  # noqa: E402
from nautilus_trader.model.currencies import BTC, USDT  # noqa: E402
from nautilus_trader.model.data import BarType  # noqa: E402
from nautilus_trader.model.enums import AccountType, OmsType, OrderSide  # noqa: E402
from nautilus_trader.model.identifiers import InstrumentId, Symbol, Venue  # noqa: E402
from nautilus_trader.model.instruments import CryptoPerpetual  # noqa: E402
from nautilus_trader.model.objects import Money, Price, Quantity  # noqa: E402
from nautilus_trader.persistence.wranglers import BarDataWrangler  # noqa: E402
from nautilus_trader.trading.strategy import Strategy  # noqa: E402

imported_s = time.perf_counter()
TICK = float(sys.argv[2])
DIGITS = len(f"{TICK:g}".partition(".")[2])
NS = 1_000_000


class Crossover(Strategy):
    def __init__(self, instrument, bar_type):
        super().__init__()
        self.bar_type, self.instrument = bar_type, instrument
        self.macd = MovingAverageConvergenceDivergence(12, 26, Kind.EXPONENTIAL)
        self.average = ExponentialMovingAverage(9)
        self.one = Quantity(1, instrument.size_precision)
        self.was_above = True
        self.trades = []

    def on_start(self):
        self.subscribe_bars(self.bar_type)

    def on_bar(self, bar):
        close = bar.close.as_double()
        self.macd.update_raw(close)
        self.average.update_raw(self.macd.value)
        is_above = self.macd.value > self.average.value
        is_crossed = is_above and not self.was_above
        self.was_above = is_above
        if is_crossed and self.cache.positions_open_count() == 0:
            ticks = round(close / TICK)
            orders = self.order_factory.bracket(
                instrument_id=self.instrument.id,
                order_side=OrderSide.BUY,
                quantity=self.one,
                sl_trigger_price=Price(-(-ticks * 98 // 100) * TICK, DIGITS),
                tp_price=Price(ticks * 106 // 100 * TICK, DIGITS),
            )
            self.submit_order_list(orders)

    def on_position_closed(self, event):
        self.trades.append(
            (event.ts_opened // NS, event.avg_px_open, event.ts_closed // NS, event.avg_px_close)
        )


def btcusdt():
    return CryptoPerpetual(
        instrument_id=InstrumentId(Symbol("BTCUSDT"), Venue("BENCH")),
        raw_symbol=Symbol("BTCUSDT"),
        base_currency=BTC,
        quote_currency=USDT,
        settlement_currency=USDT,
        is_inverse=False,
        price_precision=DIGITS,
        price_increment=Price(TICK, DIGITS),
        size_precision=3,
        size_increment=Quantity(0.001, 3),
        margin_init=Decimal(0),
        margin_maint=Decimal(0),
        maker_fee=Decimal("0.0005"),
        taker_fee=Decimal("0.0005"),
        ts_event=0,
        ts_init=0,
    )


rows = np.load(sys.argv[1])
step_ms = int(rows[1, 0] - rows[0, 0])
instrument = btcusdt()
bar_type = BarType.from_str(f"BTCUSDT.BENCH-{step_ms // 60_000}-MINUTE-LAST-EXTERNAL")
closed = pd.to_datetime(rows[:, 0].astype("int64") + step_ms, unit="ms", utc=True)
frame = pd.DataFrame(rows[:, 1:6], columns=["open", "high", "low", "close", "volume"], index=closed)
bars = BarDataWrangler(bar_type, instrument).process(frame)
loaded_s = time.perf_counter()
engine = BacktestEngine(
    BacktestEngineConfig(
        logging=LoggingConfig(bypass_logging=True), risk_engine=RiskEngineConfig(bypass=True)
    )
)
engine.add_venue(
    venue=Venue("BENCH"),
    oms_type=OmsType.NETTING,
    account_type=AccountType.MARGIN,
    base_currency=USDT,
    starting_balances=[Money(1_000_000_000, USDT)],
)
engine.add_instrument(instrument)
engine.add_data(bars)
strategy = Crossover(instrument, bar_type)
engine.add_strategy(strategy)
engine.run()
done_s = time.perf_counter()
# A fill is stamped with its candle's end: the entry's is where the next one opens.
trades = [
    (entered, entry, left - step_ms, leave) for entered, entry, left, leave in strategy.trades
]
print(
    json.dumps(
        {
            "version": nautilus_trader.__version__,
            "import_s": imported_s - began_s,
            "load_s": loaded_s - imported_s,
            "run_s": done_s - loaded_s,
            "trades": trades,
        }
    )
)
