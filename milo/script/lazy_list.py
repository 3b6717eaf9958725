"""The lists of swing points and divergences that scripts get (layer 1)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from milo.ta.zigzag import Swings


class LazyList:
    """A list of mappings, the items of which are made when a script asks for them.

    Most scripts ask for the newest only, and a list may be as long as the history. It does what
    a list does: it may be changed, and passes for one in `isinstance`.
    """

    __slots__ = ("_count", "_given", "_listed", "_newest", "_shared", "_swings")

    def __init__(
        self,
        shared: list[Any],
        count: int,
        newest: list[Any],
        swings: Swings | None = None,
    ) -> None:
        """Begin with the first `count` of `shared`, which may grow but not change, and `newest`.

        `swings` is what they are made of, where they are swing points.
        """
        self._shared = shared
        self._count = count
        self._newest = newest
        self._swings = swings
        self._given: dict[int, dict[str, Any]] = {}
        self._listed: list[Any] | None = None

    @property  # type: ignore[misc]
    def __class__(self) -> type[list[Any]]:  # type: ignore[override]
        return list

    def __len__(self) -> int:
        if self._listed is not None:
            return len(self._listed)
        return self._count + len(self._newest)

    def __getitem__(self, key: Any) -> Any:
        if self._listed is not None:
            return self._listed[key]
        if type(key) is int:
            length = self._count + len(self._newest)
            if -length <= key < length:
                return self._item(key + length if key < 0 else key)
        elif isinstance(key, slice):
            return [self._item(place) for place in range(len(self))[key]]
        return self._all()[key]

    def _item(self, place: int) -> Any:
        given = self._given.get(place)
        if given is None:
            given = self._given[place] = self._original(place).copy()
        return given

    def _original(self, place: int) -> Any:
        ahead = place - self._count
        return self._shared[place] if ahead < 0 else self._newest[ahead]

    def _all(self) -> list[Any]:
        """Make what is not made yet; from now on it is a list like any other."""
        if self._listed is None:
            made = [item.copy() for item in self._shared[: self._count]]
            made += [item.copy() for item in self._newest]
            for place, item in self._given.items():
                made[place] = item
            self._listed = made
        return self._listed

    def unchanged_swings(self) -> Swings | None:
        """Return what the list is made of, where the script has changed nothing about it."""
        if self._swings is None:
            return None
        if self._listed is None:
            given = self._given
            is_same = all(item == self._original(place) for place, item in given.items())
        else:
            is_same = self._listed == self._shared[: self._count] + self._newest
        return self._swings if is_same else None

    def __iter__(self) -> Iterator[Any]:
        return iter(self._all())

    def __contains__(self, item: object) -> bool:
        return item in self._all()

    def __setitem__(self, key: Any, item: Any) -> None:
        self._all()[key] = item

    def __delitem__(self, key: Any) -> None:
        del self._all()[key]

    def __repr__(self) -> str:
        return repr(self._all())

    __hash__ = None  # type: ignore[assignment]  # as a list

    def __eq__(self, other: object) -> bool:
        return bool(self._all() == _plain(other))

    def __lt__(self, other: Any) -> Any:
        return self._all() < _plain(other)

    def __le__(self, other: Any) -> Any:
        return self._all() <= _plain(other)

    def __gt__(self, other: Any) -> Any:
        return self._all() > _plain(other)

    def __ge__(self, other: Any) -> Any:
        return self._all() >= _plain(other)

    def __add__(self, other: Any) -> Any:
        return self._all() + _plain(other)

    def __radd__(self, other: Any) -> Any:
        return other + self._all()

    def __iadd__(self, other: Any) -> LazyList:
        self._all().extend(other)
        return self

    def __mul__(self, times: Any) -> Any:
        return self._all() * times

    __rmul__ = __mul__

    def __imul__(self, times: Any) -> LazyList:
        items = self._all()
        items *= times
        return self

    def append(self, item: Any) -> None:
        self._all().append(item)

    def clear(self) -> None:
        self._all().clear()

    def copy(self) -> list[Any]:
        return self._all().copy()

    def count(self, item: Any) -> int:
        return self._all().count(item)

    def extend(self, items: Any) -> None:
        self._all().extend(items)

    def index(self, item: Any, *limits: Any) -> int:
        return self._all().index(item, *limits)

    def insert(self, place: Any, item: Any) -> None:
        self._all().insert(place, item)

    def pop(self, place: Any = -1) -> Any:
        return self._all().pop(place)

    def remove(self, item: Any) -> None:
        self._all().remove(item)

    def reverse(self) -> None:
        self._all().reverse()

    def sort(self, *, key: Any = None, reverse: Any = False) -> None:
        self._all().sort(key=key, reverse=reverse)


def _plain(value: Any) -> Any:
    return value._all() if type(value) is LazyList else value
