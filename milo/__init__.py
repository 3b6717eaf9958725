"""Milo: a trading engine that runs strategy scripts in backtest, on paper and live."""

__version__ = "0.1.0"
