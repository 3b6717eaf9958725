"""Scripts that mean harm, with what must become of each: read from *.scripts, and made here.

A line `#: name | expectation` begins each script of a file. What may be expected:

    refused: words      when it is loaded, with these words in the message
    error: words        an error of the script while it runs; its worker lives on
    breach: words       a budget is overrun or the interpreter crashes: the worker is replaced
    gives: text         it ends well and prints this, its lines joined by |
    gives-much: text    the same, but what it prints begins so and is cut off

` or ` stands between words of which one is enough. @CANARY@ is the path of a file that no script
may read or change.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from milo.script.limits import MAX_TEXT_BYTES

FOLDER: Final = Path(__file__).parent
CANARY: Final = "@CANARY@"
_HEAD: Final = re.compile(r"^#: (\w+) \| (refused|error|breach|gives|gives-much):(.*)\n", re.M)


@dataclass(frozen=True)
class Case:
    """One script. `words` are what the message holds (one of them, where ` or ` divides them), or
    what the script prints, its lines joined by |."""

    name: str
    kind: str
    words: str
    text: bytes

    def says(self, message: str) -> bool:
        return any(words in message for words in self.words.split(" or "))


def families() -> dict[str, list[Case]]:
    """Return all cases by family."""
    found = {path.stem: list(_read(path)) for path in sorted(FOLDER.glob("*.scripts"))}
    found["texts"] = list(_texts())
    return found


def _read(path: Path) -> Iterator[Case]:
    parts = _HEAD.split(path.read_text(encoding="utf-8"))[1:]
    for name, kind, words, text in zip(*(parts[i::4] for i in range(4)), strict=True):
        yield Case(name, kind, words.strip(), text.rstrip("\n").encode("utf-8") + b"\n")


def _texts() -> Iterator[Case]:
    """Texts that are made to break a reader: the decoder, the tokenizer, the parser, the checks."""
    for name, words, text in (
        ("null_byte", "invisible character U+0000", "x = 1\0"),
        ("null_byte_in_a_comment", "invisible character U+0000", "# \0\nx = 1"),
        ("escape_in_a_comment", "invisible character U+001B", "# \x1b[2J\nx = 1"),
        ("form_feed", "invisible character U+000C", "x = 1\x0c\ny = 2"),
        ("vertical_tab", "invisible character U+000B", "x = 1\x0b"),
        ("carriage_returns_alone", "invisible character U+000D", "x = 1\rimport os"),
        ("carriage_return_in_a_comment", "invisible character U+000D", "# x\rimport os"),
        ("byte_order_mark_inside", "invisible character U+FEFF", "x = \ufeff1"),
        ("two_byte_order_marks", "invisible character U+FEFF", "\ufeff\ufeffx = 1"),
        ("line_separator", "invisible character U+2028", "x = '\u2028'"),
        ("next_line", "invisible character U+0085", "# \x85import os"),
        ("bidi_in_a_text", "invisible character U+202E", "x = '\u202e'"),
        ("bidi_isolate", "invisible character U+2066", "x = '\u2066'"),
        ("tag_letters", "invisible character U+E0041", "x = '\U000e0041'"),
        ("private_letters", "invisible character U+E000", "x = '\ue000'"),
        ("coding_line_utf7", "unknown name", "# coding: utf-7\n+AGkAbQBwAG8AcgB0- os"),
        ("coding_line_of_nonsense", "import of 'os'", "# coding: no-such-codec\nimport os"),
        ("coding_line_that_is_ignored", "import of 'os'", "# coding: rot13\nimport os"),
        ("brackets_never_closed", "brackets are nested more than 50", "(" * 60_000),
        ("brackets_closed", "brackets are nested more than 50", "[" * 30_000 + "]" * 30_000),
        ("brackets_of_all_kinds", "brackets are nested more than 50", "([{" * 20_000),
        ("braces_just_within_the_limit", "syntax error", "{" * 50),
        ("brackets_behind_a_false_text", "nested more than 50", "x = '\\'' + " + "(" * 60_000),
        ("calls_in_calls", "brackets are nested more than 50", "f(" * 20_000),
        ("subscripts_in_subscripts", "brackets are nested more than 50", "a[" * 20_000),
        ("minus_signs", "nested", "-" * 60_000 + "1"),
        ("tildes", "nested", "~" * 60_000 + "1"),
        ("not_not", "nested", "not " * 15_000 + "1"),
        ("awaits_in_a_row", "syntax error or nested", "await " * 10_000 + "x"),
        ("lambdas_in_lambdas", "nested", "lambda: " * 8_000 + "1"),
        ("conditions_in_conditions", "nested", "1 if 1 else " * 5_000 + "1"),
        ("powers_of_powers", "nested", "2 ** " * 12_000 + "2"),
        ("sum_without_end", "nested", "1 + " * 16_000 + "1"),
        ("attributes_of_attributes", "nested", "x" + ".a" * 30_000),
        ("calls_of_calls", "nested", "x" + "()" * 30_000),
        ("subscripts_of_subscripts", "nested", "x" + "[0]" * 20_000),
        ("branches_without_end", "nested", "if 1:\n pass\n" + "elif 1:\n pass\n" * 4_000),
        ("indented_without_end", "too many levels of indentation or nested",
         "".join(" " * i + "if 1:\n" for i in range(300))),
        ("loops_in_loops", "nested or too many statically nested blocks",
         "".join(" " * i + "for i in data:\n" for i in range(40)) + " " * 40 + "pass"),
        ("functions_in_functions", "nested or too many levels",
         "".join(" " * i + "def f():\n" for i in range(99)) + " " * 99 + "pass"),
        ("loops_of_one_comprehension", "parts or nested or unknown or too many statically",
         "[1" + " for a in data" * 4_000 + "]"),
        ("walruses", "attribute '.x'", "(a := " * 45 + "1" + ")" * 45 + ".x"),
        ("strings_without_end", "a text of", "'a'" * 20_000),
        ("string_of_many_quotes", "syntax error", "'" * 60_001),
        ("fstrings_in_fstrings", "syntax error or nested", "f'{" * 100 + "1" + "}'" * 100),
        ("fstring_specs_in_specs", "nested or syntax error",
         "f'" + "{1:" * 30 + "}" * 30 + "'"),
        ("fstring_of_many_brackets", "nested or syntax error or attribute '.x'",
         "f'{" + "(" * 190 + "1" + ")" * 190 + ".x}'"),
        ("fstring_of_many_parts", "parts", "f'" + "{1}" * 15_000 + "'"),
        ("many_parts", "more than 20000 parts", "x=1;" * 15_000),
        ("many_numbers", "more than 20000 parts", "[" + "0," * 30_000 + "]"),
        ("many_arguments", "more than 20000 parts", "print(" + "0," * 30_000 + ")"),
        ("many_comparisons", "more than 20000 parts", "x = 1" + " < 1" * 15_000),
        ("many_faults", "is not available", "data.zzz; " * 3_900),
        ("many_unknown_names", "unknown name", "".join(f"x{i}+y{i}\n" for i in range(2_000))),
        ("long_name", "unknown name", "print(" + "a" * 60_000 + ")"),
        ("long_attribute", "attribute '.aaaa", "data." + "a" * 60_000),
        ("long_decimal_number", "syntax error: Exceeds the limit", "9" * 60_000),
        ("long_hexadecimal_number", "more than 128 bits", "0x" + "f" * 60_000),
        ("long_number_with_underscores", "more than 128 bits", "x = " + "1_0" * 1_000),
        ("long_exponent", "param must be called or default of param is too large",
         "param('x', 1" + "0" * 30 + ".0e" + "9" * 1_000 + ")"),
        ("long_string_of_escapes", "a text of", "'" + "\\x41" * 10_000 + "'"),
        ("stars_without_end", "syntax error", "f(" + "*" * 30_000 + "a)"),
        ("many_targets", "too many expressions in star-unpacking or parts",
         ", ".join(f"a{i}" for i in range(300)) + ", *b = data"),
        ("many_globals", "parts or syntax error or reserved or is used prior",
         "x = 1\nglobal x, " + ", ".join(f"a{i}" for i in range(6_000))),
        ("tabs_and_blanks_mixed", "inconsistent use of tabs", "if 1:\n\tx = 1\n        y = 2"),
        ("backslash_at_the_end", "syntax error", "x = 1 \\"),
        ("unfinished_text", "syntax error", 'x = """abc'),
        ("wrong_escape", "syntax error", "x = '\\N{'"),
        ("wrong_unicode_escape", "syntax error", "x = '\\U99999999'"),
        ("template_text", "syntax error or not available", "x = t'{1}'"),
        ("positional_only", "positional-only", "def f(a, /):\n    pass"),
        ("type_statement", "syntax error or not available", "type X = int"),
        ("generic_function", "syntax error or not available", "def f[T](x):\n    pass"),
        ("except_without_brackets", "syntax error or unknown name",
         "try:\n    x\nexcept ValueError, KeyError:\n    pass"),
    ):  # fmt: skip
        assert len(text.encode("utf-8")) <= MAX_TEXT_BYTES, name
        yield Case(name, "refused", words, text.encode("utf-8"))
    yield Case("latin1", "refused", "not UTF-8", b"x = '\xe4'")
    yield Case("utf16", "refused", "not UTF-8", "x = 1".encode("utf-16"))
    yield Case("overlong_utf8", "refused", "not UTF-8", b"x = '\xc0\xaf'")
    yield Case("surrogate_in_utf8", "refused", "not UTF-8", b"x = '\xed\xa0\x80'")
    yield Case("half_a_letter", "refused", "not UTF-8", b"x = '\xf0\x9f")
    yield Case("byte_order_mark", "gives", "1", b"\xef\xbb\xbfprint(1)")
    yield Case("windows_newlines", "gives", "1|2", b"print(1)\r\nprint(2)\r\n")
    yield Case("nothing_but_a_comment", "gives", "", b"# nothing\n")
    yield Case("deep_text_that_is_fair", "gives", "1", b"print(" + b"(" * 40 + b"1" + b")" * 41)
