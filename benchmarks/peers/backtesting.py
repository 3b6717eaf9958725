"""The benchmark's strategy in backtesting.py. Run by its own interpreter: FILE.npy TICK.

Its stop and target are given with the order, before the fill is known: they are measured from the
signal's close at first and moved to the fill's once the entry's candle is over.
"""

import json
import sys
import time

began_s = time.perf_counter()
import backtesting  # noqa: E402
import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from backtesting import Backtest, Strategy  # noqa: E402

imported_s = time.perf_counter()
TICK = float(sys.argv[2])
WHOLE = 1_000_000_000


def levels(price):
    """Return stop and target of a long at a price, on the tick, towards the entry."""
    ticks = round(price / TICK)
    return -(-ticks * 98 // 100) * TICK, ticks * 106 // 100 * TICK


def ema(values, period):
    return pd.Series(values).ewm(span=period, adjust=False).mean().to_numpy()


def macd(closes):
    line = ema(closes, 12) - ema(closes, 26)
    return line, ema(line, 9)


class Crossover(Strategy):
    def init(self):
        self.line, self.signal = self.I(macd, self.data.Close, plot=False)
        self.is_moved = False

    def next(self):
        if self.position:
            if not self.is_moved:
                trade = self.trades[0]
                trade.sl, trade.tp = levels(trade.entry_price)
                self.is_moved = True
        elif self.line[-2] <= self.signal[-2] and self.line[-1] > self.signal[-1]:
            stop, target = levels(self.data.Close[-1])
            self.buy(size=1, sl=stop, tp=target)
            self.is_moved = False


rows = np.load(sys.argv[1])
frame = pd.DataFrame(rows[:, 1:6], columns=["Open", "High", "Low", "Close", "Volume"])
frame.index = pd.to_datetime(rows[:, 0].astype("int64"), unit="ms")
loaded_s = time.perf_counter()
stats = Backtest(frame, Crossover, cash=WHOLE, commission=0.0005).run()
done_s = time.perf_counter()
found = stats["_trades"]
trades = [
    [int(rows[entered, 0]), float(entry), int(rows[left, 0]), float(leave)]
    for entered, entry, left, leave in zip(
        found["EntryBar"], found["EntryPrice"], found["ExitBar"], found["ExitPrice"], strict=True
    )
]
print(
    json.dumps(
        {
            "version": backtesting.__version__,
            "import_s": imported_s - began_s,
            "load_s": loaded_s - imported_s,
            "run_s": done_s - loaded_s,
            "trades": trades,
        }
    )
)
