"""Money: what the tokens of a call cost, exactly."""

from dataclasses import dataclass
from decimal import Context, Decimal, localcontext

_DIGITS = 100
"""Enough for every price and count; a result that needs more would be rounded."""


@dataclass(frozen=True, slots=True)
class Cost:
    """An amount of money: an exact decimal without exponent, and the code of its currency (ISO 4217)."""

    amount: str
    currency: str


@dataclass(frozen=True, slots=True)
class Price:
    """What a million tokens of a provider cost."""

    input_per_mtok: Decimal
    output_per_mtok: Decimal
    currency: str

    def cost(self, input_tokens: int, output_tokens: int) -> Cost:
        """Return what so many tokens cost, to the last digit.

        >>> Price(Decimal("0.15"), Decimal("0.60"), "USD").cost(1000, 500)
        Cost(amount='0.00045', currency='USD')
        """
        with localcontext(Context(prec=_DIGITS)):
            total = self.input_per_mtok * input_tokens + self.output_per_mtok * output_tokens
            return Cost(f"{total.scaleb(-6).normalize():f}", self.currency)
