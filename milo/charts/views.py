"""What the chart derives of each series it shows, computed once for all who look at it (pure)."""

from __future__ import annotations

import zlib
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from milo.candles import Candles, Floats
from milo.charts.indicators import ChartIndicators
from milo.charts.overlays import OVERLAYS, Item, OverlayInput
from milo.charts.snapshot import ChartSnapshot
from milo.model import Candle

_MAX_KEPT: Final = 8


@dataclass(slots=True)
class _Overlays:
    count: int
    items: dict[str, list[Item]]


class SeriesView:
    """One symbol and interval of one run: closed candles that only grow, and what comes of them.

    `series` names it: as long as the name is the same, the index of a candle is, and older
    answers are prefixes of newer ones.
    """

    def __init__(self, series: str, candles: Candles) -> None:
        self.series = series
        self.candles = candles
        self._indicators = ChartIndicators()
        self._overlays: _Overlays | None = None
        self._forming: tuple[int, Candle, dict[str, float]] | None = None

    def holds(self, candles: Candles) -> bool:
        """Return whether `candles` are those of now, or those and newer ones behind them."""
        known = self.candles
        count = len(known)
        return not count or (
            len(candles) >= count
            and candles.open_ms[0] == known.open_ms[0]
            and candles.open_ms[count - 1] == known.open_ms[-1]
        )

    def lines(self) -> dict[str, Floats]:
        """Return the indicator columns over all closed candles; valid until the next call."""
        return self._indicators.closed(self.candles)

    def live(self, forming: Candle) -> dict[str, float]:
        """Return the indicator values at the forming candle."""
        known = self._forming
        if known is None or known[:2] != (len(self.candles), forming):
            values = self._indicators.forming(self.candles, forming)
            known = self._forming = (len(self.candles), forming, values)
        return known[2]

    def items(self) -> dict[str, list[Item]]:
        """Return every overlay's items; indices count in `candles`, times are ms UTC."""
        if self._overlays is None or self._overlays.count != len(self.candles):
            source = OverlayInput(self.candles)
            found = {overlay.name: overlay.compute(source) for overlay in OVERLAYS}
            self._overlays = _Overlays(len(self.candles), found)
        return self._overlays.items


class SeriesViews:
    """The views of the series that were asked for lately. Not thread-safe.

    `run_id` tells one start of the server from another.
    """

    def __init__(self, run_id: str) -> None:
        self._run_id = run_id
        self._views: OrderedDict[tuple[str, str, str], SeriesView] = OrderedDict()
        self._replaced = 0

    def of(self, snapshot: ChartSnapshot) -> SeriesView:
        """Return the view of a snapshot's series, brought up to it."""
        key = (snapshot.venue, snapshot.symbol, snapshot.interval)
        candles = snapshot.candles
        view = self._views.get(key)
        if view is None or not view.holds(candles):
            # History that was mended, or begins elsewhere now, is another series.
            self._replaced += view is not None
            view = SeriesView(self._name(key, candles), candles)
            self._views[key] = view
        view.candles = candles
        self._views.move_to_end(key)
        if len(self._views) > _MAX_KEPT:
            self._views.popitem(last=False)
        return view

    def _name(self, key: tuple[str, str, str], candles: Candles) -> str:
        first_ms = int(candles.open_ms[0]) if len(candles) else 0
        parts = (self._run_id, *key, str(first_ms), str(self._replaced))
        return format(zlib.crc32("\0".join(parts).encode("utf-8", "replace")), "08x")
