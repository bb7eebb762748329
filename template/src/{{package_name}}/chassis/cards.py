"""Cards: finds the numbers of payment cards in a text, by their length, their first digit and their check digit.

Source: ISO/IEC 7812-1, annex B (the check digit, known as the Luhn algorithm).
"""

import re
from itertools import accumulate

LENGTHS = range(13, 20)
"""Digits of a card that is paid with."""

_FIRST_DIGITS = "23456"
_GAP = r"[- \u00a0\u2007\u2009\u202f]?"
"""What stands between groups of digits: spaces of every width that does not end a line, and hyphens."""
_DOTTED = r"\d{4}\.(?:\d{6}\.\d{4,5}|\d{4}\.\d{4}\.\d{4}(?:\.\d{1,3})?+)(?![^\W_]|\.\d)"
"""Dots stand in other numbers too, so they count only between groups as they are on cards."""
_ROW = re.compile(rf"(?<![^\W_])(?<!\d\.)(?:{_DOTTED}|\d(?:{_GAP}\d){{12}}(?:{_GAP}\d)*+)")
_GROUP = re.compile(r"\d+")
_GOES_ON = re.compile(r"[^\W_]|\.\d")


def without_cards(text: str, mask: str) -> str:
    """Return the text with a mask for every card number, which begins and ends where a group of digits does.

    The time is linear in the length of the text.
    """
    return _ROW.sub(lambda row: _masked(row, mask), text)


def _masked(row: re.Match[str], mask: str) -> str:
    digits = row[0]
    groups = [match.span() for match in _GROUP.finditer(digits)]
    if _GOES_ON.match(row.string, row.end()):
        groups.pop()  # the beginning of a word, or of a decimal number
    numbers = _Numbers(digits)
    kept, at, first = list[str](), 0, 0
    while first < len(groups):
        last = numbers.card(groups, first)
        if last is not None:
            kept += [digits[at : groups[first][0]], mask]
            at, first = groups[last][1], last
        first += 1
    return "".join([*kept, digits[at:]])


class _Numbers:
    """The sums of the digits of a row, so that each part of it is checked in the same time."""

    def __init__(self, row: str) -> None:
        self._row = row
        digits = [int(char) for char in row if char.isdecimal()]
        doubled = [2 * digit - 9 * (digit > 4) for digit in digits]  # noqa: PLR2004 - from 5 on, twice it has two digits
        pairs = list(enumerate(zip(digits, doubled, strict=True)))
        self._sums = [[0, *accumulate(both[at % 2 == parity] for at, both in pairs)] for parity in (0, 1)]
        """By which of the digits are doubled: those at even places, or at odd ones."""
        self._before = [0, *accumulate(char.isdecimal() for char in row)]

    def card(self, groups: list[tuple[int, int]], first: int) -> int | None:
        """Return the last group of the longest card number that begins with a group, or None."""
        begin = groups[first][0]
        found = None
        if self._row[begin] in _FIRST_DIGITS:
            for last in range(first, min(first + max(LENGTHS), len(groups))):
                until = self._before[groups[last][1]]
                if until - self._before[begin] > max(LENGTHS):
                    break
                if until - self._before[begin] in LENGTHS and self._checks(self._before[begin], until):
                    found = last
        return found

    def _checks(self, begin: int, until: int) -> bool:
        sums = self._sums[until % 2]
        return (sums[until] - sums[begin]) % 10 == 0
