"""Redaction: takes secrets and personal data out of text and fields before they are written anywhere."""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from pydantic import SecretBytes, SecretStr

MASK = "********"

_SECRET_KEY = re.compile(
    r"pass(word|wd|phrase)?$|secret|api[_-]?key|token$|authorization|cookie|credential|private[_-]?key|signature$",
    re.IGNORECASE,
)
_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"(?i)(\b[a-z][a-z0-9+.-]*://[^\s:/@]*:)[^\s@]+(?=@)"), rf"\1{MASK}"),
    (re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{4,}"), rf"\1 {MASK}"),
    (re.compile(r"(?i)([?&](?:[\w-]*(?:key|token|secret|password|signature|sig|auth))=)[^&\s\"']+"), rf"\1{MASK}"),
    (
        re.compile(
            r"(?i)((?:api[_-]?key|access[_-]?token|token|secret|password|passwd|authorization)[\"']?\s*[:=]\s*[\"']?)"
            r"(?!bearer|basic)[^\s\"',;&*]{3,}"
        ),
        rf"\1{MASK}",
    ),
    (re.compile(r"\b(?:sk|pk|rk|ghp|gho|glpat|xox[abp])[-_][\w-]{8,}"), MASK),
    (re.compile(r"\beyJ[\w-]{5,}\.[\w-]{5,}\.[\w-]*"), MASK),
    (re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"), MASK),
    (re.compile(r"(?<![\w.])(?:\d[ -]?){12,18}\d(?![\w.])"), MASK),
)

_HARMLESS = re.compile(r"(?!.*(?:sk_|pk_|rk_|gh[po]_|glpat|xox|eyJ|\d{12}))[A-Za-z0-9_/{}]{0,64}")
"""Single words that no pattern can match: most values of most lines, let through without trying them all."""


def redact_text(text: str) -> str:
    """Return the text with URL passwords, tokens, keys, e-mail addresses and card-like numbers masked."""
    if _HARMLESS.fullmatch(text):
        return text
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text


def redact(value: Any, key: str = "") -> Any:
    """Return a value fit for a log: masked as a whole under a secret's name, otherwise inside its texts."""
    if key and _names_secret(key):
        return MASK
    match value:
        case SecretStr() | SecretBytes():
            return MASK
        case str():
            return redact_text(value)
        case Mapping():
            return {str(name): redact(item, str(name)) for name, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [redact(item) for item in value]
        case None | bool() | int() | float():
            return value
        case _:
            return redact_text(str(value))


@lru_cache(maxsize=1024)
def _names_secret(key: str) -> bool:
    return _SECRET_KEY.search(key) is not None
