"""The trading core: pure functions from (book, event) to (book, commands)."""
