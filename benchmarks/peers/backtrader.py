"""The benchmark's strategy in backtrader. Run by its own interpreter: FILE.npy TICK.

Stop and target are sent when the entry has filled; backtrader tries them from the next candle on.
"""

import json
import sys
import time

began_s = time.perf_counter()
import backtrader as bt  # noqa: E402
import numpy as np  # noqa: E402

imported_s = time.perf_counter()
TICK = float(sys.argv[2])
DAY_MS = 86_400_000
EPOCH_DAY = 719_163


class Rows(bt.feed.DataBase):
    """Candles from an array: quicker than the feeds that read text or a data frame."""

    params = (("rows", None),)

    def start(self):
        super().start()
        self.left = iter(self.p.rows.tolist())

    def _load(self):
        row = next(self.left, None)
        if row is None:
            return False
        lines = self.lines
        lines.datetime[0] = EPOCH_DAY + row[0] / DAY_MS
        lines.open[0], lines.high[0], lines.low[0], lines.close[0], lines.volume[0] = row[1:6]
        lines.openinterest[0] = 0.0
        return True


class Crossover(bt.Strategy):
    def __init__(self):
        self.macd = bt.ind.MACD(self.data.close)
        self.entry = None
        self.trades = []

    def next(self):
        macd = self.macd
        if self.position or self.entry is not None:
            return
        if macd.macd[-1] <= macd.signal[-1] and macd.macd[0] > macd.signal[0]:
            self.entry = self.buy(size=1)

    def notify_order(self, order):
        if order.status != order.Completed:
            return
        fill = (len(self.data) - 1, order.executed.price)
        if order.ref == self.entry.ref:
            self.entered = fill
            ticks = round(fill[1] / TICK)
            stop = -(-ticks * 98 // 100) * TICK
            stopped = self.sell(size=1, exectype=bt.Order.Stop, price=stop)
            target = ticks * 106 // 100 * TICK
            self.sell(size=1, exectype=bt.Order.Limit, price=target, oco=stopped)
        else:
            self.trades.append((*self.entered, *fill))
            self.entry = None


rows = np.load(sys.argv[1])
loaded_s = time.perf_counter()
cerebro = bt.Cerebro(stdstats=False)
cerebro.adddata(Rows(rows=rows))
cerebro.addstrategy(Crossover)
cerebro.broker.setcash(1e9)
cerebro.broker.setcommission(commission=0.0005)
strategy = cerebro.run()[0]
done_s = time.perf_counter()
trades = [
    (int(rows[entered, 0]), entry, int(rows[left, 0]), leave)
    for entered, entry, left, leave in strategy.trades
]
print(
    json.dumps(
        {
            "version": bt.__version__,
            "import_s": imported_s - began_s,
            "load_s": loaded_s - imported_s,
            "run_s": done_s - loaded_s,
            "trades": trades,
        }
    )
)
