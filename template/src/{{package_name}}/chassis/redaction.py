"""Redaction: takes secrets and personal data out of text and fields before they are written anywhere.

Every pattern begins at a bounded distance from what it needs, so that long texts cost linear time.
"""

import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import quote, unquote_plus

from pydantic import BaseModel, SecretBytes, SecretStr

from .cards import without_cards

MASK = "********"

_MAX_DEPTH = 6
_LONGEST_NAME = 64
_FIRST_LONG_NUMBER = 10**12
_LAST_LONG_NUMBER = 10**40
"""No larger number is written as one."""
_SECRET_KEY = re.compile(
    r"pass(word|wd|phrase)?$|pwd$|secret|(api|access|private)[_-]?key|token$|(^|access|refresh|api|auth)[_-]?tokens$"
    r"|auth$|authorization|cookie|credential|signature$|dsn$|session([_-]?id)?$"
    r"|phone([_-]?(number|no))?$|card[_-]?(number|no)$|cv[cv]$|iban$",
    re.IGNORECASE,
)
_QUOTED = r""""(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'"""
_STATED = r"""[\\"']*\s*[:=]\s*"""
_NAMES = (
    r"(?:api|access|private)[_-]?key|secret(?:[_-][\w-]{1,32})?|pass(?:word|wd|phrase)|pwd|token|credentials?|signature"
    r"|(?<!\w)(?:(?:access|refresh|api|auth)[_-]?)?tokens|auth|dsn|session(?:[_-]?id)?"
)
_IN_QUERIES = "(?:key|token|secret|password|signature|sig|auth)"
_PAIR = rf"""[(\[]b?["'][\w-]{{0,64}}?(?:{_NAMES}|authorization|cookie)["'],\s?"""
_PRIVATE_KEY = r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), replacement)
    for pattern, replacement in (
        # a private key, up to the line that ends it
        (rf"({_PRIVATE_KEY})(?:[^-]++|-(?!-))*+", rf"\1{MASK}"),
        # what stands alone before the host of a web address
        (r"(\b(?:http|ws)s?://)[^\s:/@\"<>]{1,512}(?=@)", rf"\1{MASK}"),
        # the password of a URL, up to the last @ (passwords may hold one)
        (r"(\b[a-z][a-z0-9+.-]{0,30}://[^\s:/]{0,128}:)[^\s\"<>]{1,512}(?=@)", rf"\1{MASK}"),
        (r"\b(bearer|basic)\s+[^\s\"',;]+", rf"\1 {MASK}"),
        (rf"([?&][\w-]{{0,64}}{_IN_QUERIES}=)[^&\s\"']+", rf"\1{MASK}"),
        (rf"((?:authorization|cookie){_STATED})(?:{_QUOTED}|[^\r\n]+)", rf"\1{MASK}"),
        (rf"((?:{_NAMES}){_STATED})(?:b?(?:{_QUOTED})|[^\s,;&]+)", rf"\1{MASK}"),
        # a pair of name and value, as headers are written
        (rf"({_PAIR})b?(?:{_QUOTED})(?=[)\]])", rf"\1{MASK}"),
        # tokens that show by their form
        (r"(?-i:\b(?:o?sk|pk|rk|gh[oprsu]|github_pat|glpat|xox[abp])[-_][\w-]{8,})", MASK),
        (r"(?-i:\b(?:A[KS]IA[A-Z0-9]{16}|AIza[\w-]{35})(?![\w-]))", MASK),
        (r"(?<![\w-])(?-i:eyJ)[\w-]{5,8192}\.[\w-]{5,8192}\.[\w-]*", MASK),
        # e-mail addresses; in URLs too
        (r"(?<![\w.+%-])[\w.+%-]+(?:@|%40)[\w-]+(?:\.[\w-]+)+", MASK),
        # telephone numbers: international ones, then those of North America
        (r"(?<![\w+])(?:\+|%2B)\d(?:[ ().-]{0,2}\d){6,14}(?!\w)", MASK),
        (r"(?<![\w.+-])(?:\(\d{3}\) ?|\d{3}[.-])\d{3}[.-]\d{4}(?![\w-])(?!\.\d)", MASK),
    )
)

_HARMLESS = re.compile(
    r"(?!.*(?:sk_|pk_|rk_|gh[oprsu]_|github_pat|glpat|xox|A[KS]IA|AIza|\d{12}))[A-Za-z0-9_/{}]{0,64}"
    r"|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
)
"""Single words that no pattern can match, and UUIDs: most values of most lines, let through without trying them all."""


_SHORTEST = 6
"""A secret of fewer characters would mask ordinary words."""

_MAX_PARAMETERS = 100
"""Parameters of a query that are looked at; what follows is masked as a whole."""
_ENDS_IN_QUERIES = re.compile(rf"{_IN_QUERIES}$", re.IGNORECASE)
_URL_PASSWORD = re.compile(r"://[^/\s:@]*:([^/\s@]+)@")
_known: list[re.Pattern[str]] = []


def know(secrets: Iterable[str]) -> None:
    """Mask these values from now on, and no earlier ones, wherever in a text they stand."""
    longest_first = sorted({secret for secret in secrets if len(secret) >= _SHORTEST}, key=len, reverse=True)
    _known[:] = [re.compile("|".join(map(re.escape, longest_first)))] if longest_first else []


def secrets_in(value: object) -> Iterator[str]:
    """Yield every secret in settings: fields that hide their value, and the passwords of URLs."""
    match value:
        case SecretStr():
            yield value.get_secret_value()
            yield from secrets_in(value.get_secret_value())
        case BaseModel():
            for _, item in value:
                yield from secrets_in(item)
        case Mapping():
            yield from secrets_in(list(value.values()))
        case list() | tuple() | set() | frozenset():
            for item in value:
                yield from secrets_in(item)
        case _:
            yield from _URL_PASSWORD.findall(str(value))


def redact_text(text: str) -> str:
    """Return the text without known secrets, URL passwords, tokens, keys, e-mail addresses, card and phone numbers."""
    for pattern in _known:
        text = pattern.sub(MASK, text)
    if _HARMLESS.fullmatch(text):
        return text
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return without_cards(text, MASK)


def redact_query(query: str) -> str:
    """Return the query of a URL without secrets, however they are encoded; the rest stays as it is written."""
    # Credentials are known by the sign in front of them.
    parameters = redact_text(f"?{query}")[1:].split("&", _MAX_PARAMETERS)
    kept = map(_redact_parameter, parameters[:_MAX_PARAMETERS])
    return "&".join([*kept, *(MASK for _ in parameters[_MAX_PARAMETERS:])])


def _redact_parameter(written: str) -> str:
    name, sign, value = map(unquote_plus, written.partition("="))
    meant = f"{name}{sign}{value}"
    if value and (_names_secret(name) or _ENDS_IN_QUERIES.search(name)):
        redacted = f"{redact_text(name)}={MASK}"
    else:
        redacted = redact_text(meant)
    return written if redacted == meant else quote(redacted, safe="=&*/:?@,", errors="replace")


def redact(value: Any, key: str = "", depth: int = 0) -> Any:
    """Return a value fit for a log and for JSON: masked as a whole under a secret's name, otherwise in its texts."""
    if key and _names_secret(key):
        return MASK
    match value:
        case SecretStr() | SecretBytes():
            return MASK
        case str():
            return redact_text(value)
        case Mapping() if depth < _MAX_DEPTH:
            return {redact_text(_text(name)): redact(item, _name(name), depth + 1) for name, item in value.items()}
        case list() | tuple() | set() | frozenset() if depth < _MAX_DEPTH:
            return [redact(item, name, depth + 1) for name, item in _named(value)]
        case _ if _is_plain(value):
            return value
        case int() if abs(value) < _LAST_LONG_NUMBER and redact_text(str(value)) == str(value):
            return value
        case _:
            return redact_text(_text(value))


def _is_plain(value: object) -> bool:
    """Tell whether JSON has the value as it is, and nobody can read a card number in it."""
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or (isinstance(value, int) and abs(value) < _FIRST_LONG_NUMBER)


@lru_cache(maxsize=1024)
def _names_secret(key: str) -> bool:
    return _SECRET_KEY.search(key) is not None


def _named(items: Collection[object]) -> Iterator[tuple[str, object]]:
    """Yield every item with its name: that of the second of two is the first, as in a list of headers."""
    match items:
        case [str() | bytes() as name, item] if len(name) <= _LONGEST_NAME:
            yield from (("", name), (_name(name), item))
        case _:
            yield from (("", item) for item in items)


def _name(value: object) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else _text(value)


def _text(value: object) -> str:
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - a value that cannot be shown must not cost the line
        return f"<{type(value).__name__}>"
