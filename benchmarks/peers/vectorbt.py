"""The benchmark's strategy in vectorbt. Run by its own interpreter: FILE.npy TICK.

Its stops are shares of the fill's price, not rounded to the tick, and begin with the candle after
the entry's: a candle has one order at most.
"""

import json
import sys
import time

began_s = time.perf_counter()
import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import vectorbt as vbt  # noqa: E402

imported_s = time.perf_counter()
rows = np.load(sys.argv[1])
frame = pd.DataFrame(rows[:, 1:5], columns=["open", "high", "low", "close"])
loaded_s = time.perf_counter()
macd = vbt.MACD.run(frame["close"], 12, 26, 9, macd_ewm=True, signal_ewm=True)
portfolio = vbt.Portfolio.from_signals(
    frame["close"],
    entries=macd.macd_crossed_above(macd.signal).vbt.signals.fshift(1),
    exits=False,
    price=frame["open"],
    open=frame["open"],
    high=frame["high"],
    low=frame["low"],
    size=1,
    fees=0.0005,
    init_cash=1e9,
    sl_stop=0.02,
    tp_stop=0.06,
    stop_entry_price="fillprice",
)
found = portfolio.trades.records
done_s = time.perf_counter()
found = found[found["status"] == 1]
trades = [
    (int(rows[entered, 0]), float(entry), int(rows[left, 0]), float(leave))
    for entered, entry, left, leave in zip(
        found["entry_idx"], found["entry_price"], found["exit_idx"], found["exit_price"],
        strict=True,
    )
]  # fmt: skip
print(
    json.dumps(
        {
            "version": vbt.__version__,
            "import_s": imported_s - began_s,
            "load_s": loaded_s - imported_s,
            "run_s": done_s - loaded_s,
            "trades": trades,
        }
    )
)
