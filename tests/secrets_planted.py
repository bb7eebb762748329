"""Secrets that a hostile session plants, each of a form that a reader recognises, and what is looked for afterwards."""

import base64
import random
from dataclasses import dataclass, field

_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"


@dataclass(slots=True)
class Planted:
    """What was planted, by name; `sought` is the part that must be found nowhere."""

    sought: dict[str, str] = field(default_factory=dict)
    _random: random.Random = field(default_factory=lambda: random.Random(7))  # noqa: S311 - the same in every run

    def word(self, name: str, form: str = "{}") -> str:
        """Plant a random word in a form such as `sk-{}`, and return the whole."""
        word = "Q" + "".join(self._random.choices(_LETTERS, k=15)) + "Q"
        self._remember(name, word)
        return form.format(word)

    def encoded(self, name: str) -> str:
        """Plant the credentials of HTTP's basic authentication; both forms are sought."""
        word = self.word(name)
        text = base64.b64encode(f"user:{word}".encode()).decode()
        self._remember(f"{name}, encoded", text)
        return text

    def webhook(self, name: str) -> str:
        """Plant a secret in the form of Standard Webhooks."""
        text = base64.b64encode(self._random.randbytes(24)).decode()
        self._remember(name, text)
        return f"whsec_{text}"

    def card(self, name: str) -> str:
        """Plant the number of a card."""
        digits = "4" + "".join(self._random.choices("0123456789", k=14))
        total = sum(sum(divmod(int(digit) * (2 - place % 2), 10)) for place, digit in enumerate(reversed(digits)))
        number = f"{digits}{-total % 10}"
        self._remember(name, number)
        return number

    def groups(self, name: str, gap: str) -> str:
        """Plant the number of a card in groups of four."""
        number = self.card(name)
        grouped = gap.join(number[start : start + 4] for start in range(0, len(number), 4))
        self._remember(f"{name}, in groups", grouped)
        return grouped

    def phone(self, name: str) -> str:
        """Plant a telephone number."""
        number = "170" + "".join(self._random.choices("0123456789", k=8))
        self._remember(name, number)
        return f"+49{number}"

    def key(self, name: str) -> str:
        """Plant a private key."""
        body = base64.b64encode(self._random.randbytes(60)).decode()
        self._remember(name, body)
        return f"-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----"

    def token(self, name: str) -> str:
        """Plant a signed token in three parts."""
        return self.word(name, "eyJhbGciOi.eyJzdWIi{}.c2lnbmF0dXJl")

    def found_in(self, captured: str) -> list[str]:
        """Return the names of the secrets that stand in what was captured."""
        return [name for name, text in self.sought.items() if text in captured]

    def _remember(self, name: str, text: str) -> None:
        assert name not in self.sought
        self.sought[name] = text
