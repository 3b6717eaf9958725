"""A recorded run, fed through the core again, gives the same commands byte for byte."""

from __future__ import annotations

import pytest

from milo.errors import StoreError
from milo.orders.codec import BOOK, CHECKPOINT, decoded, encoded
from milo.orders.ledger import open_rows
from milo.orders.replay import replay
from tests.core.test_any_order_of_events import Storm
from tests.order_desk import Desk
from tests.recorded_desk import Entry, recording


@pytest.fixture
def record(monkeypatch: pytest.MonkeyPatch) -> list[Entry]:
    """A run with an entry, its stop, and the stop's fill."""
    with recording(monkeypatch) as entries:
        desk = Desk()
        desk.enter()
        desk.move_to("48000")
    return entries


@pytest.mark.parametrize("first", range(0, 120, 40))
def test_any_storm_is_replayed_to_the_same_commands_and_book(
    monkeypatch: pytest.MonkeyPatch, first: int
) -> None:
    # A storm in which the engine dies is several runs; each of the other kinds is one.
    for seed in (seed for seed in range(first, first + 40) if seed % 4 != 2):
        with recording(monkeypatch) as entries:
            storm = Storm(seed)
            storm.blow(20 + seed % 60)
            storm.rest()

        found = replay(iter(entries))

        assert found.differing == 0, (seed, found.differences)
        assert found.book == storm.desk.book
        assert list(found.rows) == storm.desk.rows()


def test_a_book_is_written_and_read_without_loss() -> None:
    for seed in range(40):
        storm = Storm(seed)
        storm.blow(20 + seed)

        again = decoded(BOOK, encoded(storm.desk.book))

        assert again == storm.desk.book
        # Orders stand in the book as they were sent, and are gone through in that order.
        assert [list(s.orders) for s in again.symbols.values()] == [
            list(s.orders) for s in storm.desk.book.symbols.values()
        ]
        assert open_rows(again) == open_rows(storm.desk.book)


def test_from_a_checkpoint_on_the_end_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    with recording(monkeypatch) as entries:
        storm = Storm(4)
        storm.blow(200)
    newest = max(index for index, entry in enumerate(entries) if entry[2] == CHECKPOINT)
    assert newest > 100

    found = replay(iter([entries[0], *entries[newest:]]))

    assert found.differing == 0
    assert found.book == storm.desk.book


def test_a_checkpoint_that_is_not_the_book_of_then_is_told(record: list[Entry]) -> None:
    other = record[1][3]
    record.append((999, record[-1][1], CHECKPOINT, other))

    assert replay(iter(record)).differing == 1


def test_a_command_that_was_another_is_told(record: list[Entry]) -> None:
    index = next(i for i, entry in enumerate(record) if entry[2] == "command.Place")
    seq, time_ms, kind, body = record[index]
    record[index] = (seq, time_ms, kind, body.replace('"STOP_MARKET"', '"TAKE_PROFIT_MARKET"'))

    found = replay(iter(record))

    assert found.differing == 1
    assert "TAKE_PROFIT_MARKET" in found.differences[0].recorded[-1]
    assert "STOP_MARKET" in found.differences[0].given[-1]


def test_a_command_that_is_missing_is_told(record: list[Entry]) -> None:
    record = [entry for entry in record if entry[2] != "command.RecordTrade"]

    found = replay(iter(record))

    assert found.differing == 1
    assert found.rows == ()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda entries: entries[2:],
        lambda entries: entries[:1],
        lambda entries: [*entries, (999, 1, "event.Nonsense", "{}")],
        lambda entries: [*entries, (999, 1, "event.Absent", '{"symbol": 5}')],
        lambda entries: [*entries, (999, 1, "verdict", "{}")],
    ],
)
def test_a_record_that_cannot_be_read_is_an_error_of_its_own(
    record: list[Entry], spoil: object
) -> None:
    assert callable(spoil)

    with pytest.raises(StoreError):
        replay(iter(spoil(record)))
