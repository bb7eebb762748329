"""A clock that stands still until a test moves it."""

from datetime import UTC, datetime, timedelta


class StillClock:
    """Both scales of time move together, and only when they are told to."""

    def __init__(self) -> None:
        """Begin at some noon."""
        self.seconds = 1000.0

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.seconds += seconds

    def now(self) -> datetime:
        """Return the wall clock time."""
        return datetime(2027, 1, 31, 12, tzinfo=UTC) + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        """Return the seconds that have passed."""
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        """Let time pass without waiting."""
        self.advance(seconds)
