"""The backtester: what a script decides on stored candles, and what that would have earned."""
