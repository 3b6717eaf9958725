"""The action grammar: what a script may ask for (layer 1, the engine's side).

    action   = "donothing" | entry | exit
    entry    = ("long" | "short") "(" amount "@" number "x" { "," option } ")"
    amount   = number "%risk" | number "%margin"
    option   = "sl=" distance | "tp=" distance | "rr=" number
    distance = number "%" | number "atr" | number
    exit     = "close" [ "(" number "%" ")" ]

White space between the parts is free, case is not significant. A symbol's own limits (maximum
leverage, smallest quantity) are not held here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, NoReturn

from milo.model import (
    AmountKind,
    Direction,
    Distance,
    DistanceKind,
    EntryIntent,
    ExitIntent,
    Intent,
)
from milo.money import from_float, plain
from milo.script.limits import MAX_ACTION
from milo.script.text import clean_line

DO_NOTHING: Final = "donothing"

_HUNDRED: Final = Decimal(100)
_LONGEST_NUMBER: Final = 40
_TOKEN: Final = re.compile(
    r"(?P<number>[0-9]+\.[0-9]+|\.[0-9]+|[0-9]+)|(?P<word>[a-z]+)|(?P<sign>[(),@%=])"
)
_DISTANCE: Final = re.compile(r"\s*[0-9.]+\s*(%|atr)?\s*", re.IGNORECASE | re.ASCII)
_BLANK: Final = " \t\r\n"
_NUMBER: Final = r"([0-9]{1,20}(?:\.[0-9]{1,19})?|\.[0-9]{1,20})"
_USUAL_ENTRY: Final = re.compile(
    rf"(long|short)\({_NUMBER}%(risk|margin)@{_NUMBER}x"
    rf"(?:,sl={_NUMBER}(%|atr)?)?(?:,tp={_NUMBER}(%|atr)?|,rr={_NUMBER})?\)"
)
"""An entry as `long(...)` and `short(...)` write it: nearly all that scripts give."""
_DIRECTIONS: Final = {str(direction): direction for direction in Direction}
_AMOUNT_KINDS: Final = {str(kind): kind for kind in AmountKind}
_DISTANCE_KINDS: Final = {
    "%": DistanceKind.PERCENT,
    "atr": DistanceKind.ATR,
    None: DistanceKind.PRICE,
}


def parse_action(text: str) -> Intent | None:
    """Return what an action asks for; None for `donothing`.

    Raises ValueError with the reason, the numbers and the text where it is not an action.
    """
    if len(text) > MAX_ACTION:
        raise ValueError(f"the action has {len(text)} characters; at most {MAX_ACTION} are read")
    return _usual_entry(text) or _Parser(text).action()


def _usual_entry(text: str) -> EntryIntent | None:
    """Return what an entry of the usual form asks for; None where the parser has to look at it.

    A script may give another text on each candle: this takes a fifth of the parser's time.
    """
    match = _USUAL_ENTRY.fullmatch(text)
    if match is None:
        return None
    side, share, kind, times, stop, stop_kind, target, target_kind, ratio = match.groups()
    amount, leverage = Decimal(share), Decimal(times)
    numbers = [Decimal(number) for number in (stop, target, ratio) if number is not None]
    if not 0 < amount <= _HUNDRED or leverage < 1 or not all(numbers):
        return None
    return EntryIntent(
        direction=_DIRECTIONS[side],
        amount=amount,
        amount_kind=_AMOUNT_KINDS[kind],
        leverage=leverage,
        stop=None if stop is None else Distance(numbers[0], _DISTANCE_KINDS[stop_kind]),
        target=None if target is None else Distance(numbers[-1], _DISTANCE_KINDS[target_kind]),
        reward_ratio=None if ratio is None else numbers[-1],
    )


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str


_END: Final = _Token("end", "")


class _Parser:
    """Reads one action from left to right; each method reads one part of the grammar."""

    def __init__(self, text: str) -> None:
        self._text = text
        # Before the case is changed: the Kelvin sign, for one, becomes a plain k.
        strange = next((character for character in text if not character.isascii()), None)
        if strange is not None:
            self._fail(f"'{strange}' has no meaning in an action")
        self._tokens = self._split(text.lower())
        self._next = 0

    def action(self) -> Intent | None:
        word = self._take("word", "'long', 'short', 'close' or 'donothing'")
        intent: Intent | None
        if word == DO_NOTHING:
            intent = None
        elif word == "close":
            intent = self._exit()
        elif word in ("long", "short"):
            intent = self._entry(Direction(word))
        else:
            self._fail(f"'{word}' is not one of long, short, close, donothing")
        if self._peek() is not _END:
            self._fail(f"'{self._peek().text}' after its end")
        return intent

    def _entry(self, direction: Direction) -> EntryIntent:
        self._sign("(")
        amount = self._number("the amount")
        self._sign("%")
        kind = self._take("word", "'risk' or 'margin' after the %")
        if kind not in ("risk", "margin"):
            self._fail(f"the amount is '%{kind}' instead of '%risk' or '%margin'")
        if not 0 < amount <= _HUNDRED:
            self._fail(f"{kind} of {plain(amount)}% is not above 0 and at most 100")
        self._sign("@")
        leverage = self._number("the leverage")
        if self._take("word", "'x' after the leverage") != "x":
            self._fail("the leverage must end with 'x', as in @10x")
        if leverage < 1:
            self._fail(f"leverage {plain(leverage)}x is below 1x")
        options = self._options()
        if options.target is not None and options.reward_ratio is not None:
            self._fail("'tp' and 'rr' both say where the target is; give one of them")
        return EntryIntent(
            direction=direction,
            amount=amount,
            amount_kind=AmountKind(kind),
            leverage=leverage,
            stop=options.stop,
            target=options.target,
            reward_ratio=options.reward_ratio,
        )

    def _options(self) -> _Options:
        options = _Options()
        seen: set[str] = set()
        while self._sign_of(",", ")") == ",":
            name = self._take("word", "'sl', 'tp' or 'rr' after the comma")
            if name not in ("sl", "tp", "rr"):
                self._fail(f"'{name}' is not one of sl, tp, rr")
            if name in seen:
                self._fail(f"'{name}' is given twice")
            seen.add(name)
            self._sign("=")
            if name == "rr":
                options.reward_ratio = self._positive(name)
            elif name == "sl":
                options.stop = self._distance(name)
            else:
                options.target = self._distance(name)
        return options

    def _distance(self, name: str) -> Distance:
        value = self._positive(name)
        following = self._peek()
        if following.text == "%":
            self._next += 1
            return Distance(value, DistanceKind.PERCENT)
        if following.kind == "word":
            self._next += 1
            if following.text != "atr":
                self._fail(f"{name} is in '{following.text}' instead of '%' or 'atr'")
            return Distance(value, DistanceKind.ATR)
        return Distance(value, DistanceKind.PRICE)

    def _exit(self) -> ExitIntent:
        if self._peek().text != "(":
            return ExitIntent()
        self._sign("(")
        percent = self._number("the part to close")
        self._sign("%")
        self._sign(")")
        if not 0 < percent <= _HUNDRED:
            self._fail(f"close of {plain(percent)}% is not above 0 and at most 100")
        return ExitIntent(percent=percent)

    def _positive(self, name: str) -> Decimal:
        value = self._number(f"a number after {name}=")
        if not value > 0:
            self._fail(f"{name}={plain(value)} is not above 0")
        return value

    def _number(self, what: str) -> Decimal:
        text = self._take("number", f"{what}, a plain number like 1, 0.5 or .5")
        if len(text) > _LONGEST_NUMBER:
            self._fail(f"a number of {len(text)} digits is too long")
        return Decimal(text)

    def _sign(self, sign: str) -> None:
        self._sign_of(sign)

    def _sign_of(self, *signs: str) -> str:
        wanted = " or ".join(f"'{sign}'" for sign in signs)
        token = self._peek()
        if token.text not in signs:
            self._fail(f"{self._found(token)} where {wanted} is expected")
        self._next += 1
        return token.text

    def _take(self, kind: str, wanted: str) -> str:
        token = self._peek()
        if token.kind != kind:
            self._fail(f"{self._found(token)} where {wanted} is expected")
        self._next += 1
        return token.text

    def _peek(self) -> _Token:
        return self._tokens[self._next] if self._next < len(self._tokens) else _END

    @staticmethod
    def _found(token: _Token) -> str:
        return "it ends" if token is _END else f"'{token.text}' stands"

    def _split(self, text: str) -> list[_Token]:
        tokens = []
        position = 0
        while position < len(text):
            if text[position] in _BLANK:
                position += 1
                continue
            match = _TOKEN.match(text, position)
            if match is None:
                self._fail(f"'{text[position]}' has no meaning in an action")
            tokens.append(_Token(str(match.lastgroup), match.group()))
            position = match.end()
        return tokens

    def _fail(self, reason: str) -> NoReturn:
        raise ValueError(
            f"action '{clean_line(self._text, MAX_ACTION)}': {clean_line(reason, 200)}"
        )


@dataclass(slots=True)
class _Options:
    stop: Distance | None = None
    target: Distance | None = None
    reward_ratio: Decimal | None = None


def entry_action(
    side: Direction,
    *,
    risk: Any = None,
    margin: Any = None,
    leverage: Any = 1,
    sl: Any = None,
    tp: Any = None,
    rr: Any = None,
) -> str:
    """Return the action string of `long(...)` or `short(...)` as a script calls them.

    risk, margin (percent), leverage and rr are numbers; sl and tp are "2%", "1.5atr" or a price.
    Raises ValueError for arguments that make no valid action.
    """
    if (risk is None) == (margin is None):
        raise ValueError(f"{side}() needs either risk= or margin=, a percentage")
    if risk is not None:
        amount = f"{_decimal(risk, 'risk')}%risk"
    else:
        amount = f"{_decimal(margin, 'margin')}%margin"
    text = f"{side}({amount}@{_decimal(leverage, 'leverage')}x"
    if sl is not None:
        text += f",sl={_distance_text(sl, 'sl')}"
    if tp is not None:
        text += f",tp={_distance_text(tp, 'tp')}"
    if rr is not None:
        text += f",rr={_decimal(rr, 'rr')}"
    return _checked(text + ")")


def close_action(percent: Any = 100) -> str:
    """Return the action string of `close(50)`: the part of the position to close, in percent.

    Raises ValueError where it is not above 0 and at most 100.
    """
    return _checked(f"close({_decimal(percent, 'close')}%)")


def _checked(text: str) -> str:
    parse_action(text)
    return text


def _distance_text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        return _decimal(value, name)
    if _DISTANCE.fullmatch(value) is None:
        raise ValueError(f"{name} must be like '2%', '1.5atr' or a price, not {value!r}"[:200])
    return value.strip()


def _decimal(value: Any, name: str) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{name} must be a number, not {value!r}"[:200])
    if isinstance(value, int):
        if value.bit_length() > 64:
            raise ValueError(f"{name} is too large")
        return str(value)
    try:
        return plain(from_float(value))
    except ValueError:
        raise ValueError(f"{name} must be a finite number, not {value}") from None
