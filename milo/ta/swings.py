"""Swing points as scripts pass them around, and their labels: higher and lower highs and lows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from milo.ta.zigzag import PivotKind, SwingPoint, Swings

_LABELS: dict[str, tuple[str, str, str]] = {
    PivotKind.PEAK: ("HH", "H", "LH"),
    PivotKind.LOW: ("HL", "L", "LL"),
}
_KINDS: dict[str, PivotKind] = {kind.value: kind for kind in PivotKind}
_NO_POINT = "zigzag_points must be what calculate_zigzag returns"


def classify_swing_points(
    zigzag_points: Sequence[Mapping[str, Any]], data: Any = None
) -> list[dict[str, Any]]:
    """Return the points with a `label`: HH, LH or H for peaks, HL, LL or L for lows.

    Each is compared with the point of its type before it; the first one of a type, and one that
    is equal to the one before, is plain H or L. `data` (Candles) gives the `time` where points
    have none. The items are new ones. Raises ValueError where a point is not of calculate_zigzag's.
    """
    times = getattr(data, "open_ms", None)
    before: dict[str, float] = {}
    labelled = []
    for point in zigzag_points:
        try:
            kind, value = point["type"], point["value"]
            higher, plain, lower = _LABELS[kind]
        except (KeyError, TypeError) as error:
            raise ValueError(_NO_POINT) from error
        if type(value) is not float:
            _, value = kind_and_value(point)
        last = before.get(kind, value)
        label = higher if value > last else lower if value < last else plain
        before[kind] = value
        if point.get("time") is None:
            labelled.append({**point, "time": time_of(point, times), "label": label})
        else:
            labelled.append({**point, "label": label})
    return labelled


def labels_of(swings: Swings) -> dict[str, Any] | None:
    """Label what is new among the swing points, in `swings.labelled`; return the last one.

    What then stands there is what `classify_swing_points` says of them; it is not to be changed.
    """
    points, labelled = swings.points, swings.labelled
    for number in range(len(labelled), swings.confirmed):
        labelled.append(_labelled(points[number], points, number))
    newest = swings.newest
    return None if newest is None else _labelled(newest, points, swings.confirmed)


def _labelled(point: SwingPoint, points: list[SwingPoint], number: int) -> dict[str, Any]:
    """Return a point with its label; peaks and lows alternate."""
    value = point["value"]
    last = points[number - 2]["value"] if number >= 2 else value
    higher, plain, lower = _LABELS[point["type"]]
    return {**point, "label": higher if value > last else lower if value < last else plain}


def kind_and_value(point: Mapping[str, Any]) -> tuple[PivotKind, float]:
    """Return type and value of a swing point; raise ValueError where it is none."""
    try:
        return _KINDS[point["type"]], float(point["value"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(_NO_POINT) from error


def index_of(point: Mapping[str, Any]) -> int:
    """Return the index of a swing point's candle; raise ValueError where it is no swing point."""
    try:
        index = point["index"]
    except (KeyError, TypeError) as error:
        raise ValueError(_NO_POINT) from error
    if not isinstance(index, int):
        raise ValueError(_NO_POINT)
    return index


def time_of(point: Mapping[str, Any], times: Any) -> Any:
    """Return the point's own time, or that of its candle; None where neither is known."""
    time = point.get("time")
    if time is not None or times is None:
        return time
    index = index_of(point)
    return int(times[index]) if 0 <= index < len(times) else None
