"""@pyne
The benchmark's strategy for PyneCore, in its own language: run by pynecore.py beside it.

The exit is given with the entry, in ticks of the signal's close, and from the entry's candle on as
the prices that belong to the fill.
"""

from pynecore.lib import close, script, strategy, syminfo, ta


@script.strategy(
    "MACD crossover",
    initial_capital=1_000_000_000,
    default_qty_type=strategy.fixed,
    default_qty_value=1,
    commission_type=strategy.commission.percent,
    commission_value=0.05,
    margin_long=0,
)
def main():
    line, signal, _ = ta.macd(close, 12, 26, 9)
    is_crossed = ta.crossover(line, signal)
    if strategy.position_size > 0:
        ticks = round(strategy.position_avg_price / syminfo.mintick)
        stop = -(-ticks * 98 // 100) * syminfo.mintick
        target = ticks * 106 // 100 * syminfo.mintick
        strategy.exit("out", "in", stop=stop, limit=target)
    elif is_crossed:
        ticks = round(close / syminfo.mintick)
        strategy.entry("in", strategy.long)
        strategy.exit("out", "in", loss=ticks * 2 // 100, profit=ticks * 6 // 100)
