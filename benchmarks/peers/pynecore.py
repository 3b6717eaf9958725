"""The benchmark's strategy in PyneCore. Run by its own interpreter: FILE.npy TICK [prepare].

PyneCore reads candles from a format of its own: `prepare` writes it beside FILE, as numpy is no
part of PyneCore, from the CSV file of the same name. That time is not counted.
"""

import json
import os
import sys
import time

os.environ["PYNE_SAVE_SCRIPT_TOML"] = "0"
began_s = time.perf_counter()
from importlib.metadata import version  # noqa: E402
from pathlib import Path  # noqa: E402

from pynecore.core.ohlcv import ChartBarWindow, OHLCVReader, OHLCVWriter  # noqa: E402
from pynecore.core.script_runner import ScriptRunner  # noqa: E402
from pynecore.core.syminfo import SymInfo  # noqa: E402
from pynecore.types.ohlcv import OHLCV  # noqa: E402

imported_s = time.perf_counter()
SOURCE = Path(sys.argv[1])
STORED = SOURCE.with_suffix(".ohlcv")
SCALE = round(1 / float(sys.argv[2]))


def prepare():
    rows = [line.split(",") for line in SOURCE.with_suffix(".csv").read_text().splitlines()[1:]]
    minutes = (int(rows[1][0]) - int(rows[0][0])) // 60_000
    with (
        OHLCVWriter(STORED, str(minutes), minmove=1, pricescale=SCALE, truncate=True) as writer,
        writer.batched(),
    ):
        for open_ms, *numbers in rows:
            writer.write(OHLCV(int(open_ms), *map(float, numbers)))


def run():
    with OHLCVReader(STORED) as reader:
        first, last = reader.start_timestamp, reader.end_timestamp
        size = reader.get_size(first, last)
        symbol = SymInfo(
            prefix="BENCH",
            description="made up",
            ticker="BTCUSDT",
            currency="USDT",
            basecurrency="BTC",
            period=reader.period,
            type="crypto",
            mintick=1 / SCALE,
            pricescale=SCALE,
            pointvalue=1.0,
            mincontract=0.001,
            opening_hours=[],
            session_starts=[],
            session_ends=[],
        )
        window = ChartBarWindow(reader.path, first, last)
        runner = ScriptRunner(
            Path(__file__).with_name("pynecore_strategy.py"),
            window.bars(),
            symbol,
            last_bar_index=size - 1,
            last_bar_time=reader.get_last_bar_time(first, last),
            lossless_prices=reader.lossless_prices,
            chart_bar_window=window,
        )
        trades = []
        for _, _, closed in runner.run_iter(copy_results=False):
            trades += [(t.entry_time, t.entry_price, t.exit_time, t.exit_price) for t in closed]
    return trades


if sys.argv[3:] == ["prepare"]:
    prepare()
    raise SystemExit
loaded_s = time.perf_counter()
trades = run()
done_s = time.perf_counter()
print(
    json.dumps(
        {
            "version": version("pynesys-pynecore"),
            "import_s": imported_s - began_s,
            "load_s": loaded_s - imported_s,
            "run_s": done_s - loaded_s,
            "trades": trades,
        }
    )
)
