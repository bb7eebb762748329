"""The steps: one line per call, one deadline, and nothing untranslated."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

import pytest

from chassis.doubles import OPERATIONS, Greeter
from object_service.chassis.contracts.context import Context, current, current_or_none, entered
from object_service.chassis.contracts.errors import (
    AdapterDeadlineError,
    AdapterError,
    AdapterResponseError,
    AdapterTimeoutError,
    AdapterUnavailableError,
    RequestError,
)
from object_service.chassis.resilience.assembly import Guards
from object_service.chassis.resilience.pipeline import guard
from object_service.chassis.resilience.settings import Resilience, Retry, Timeouts

FAST = Resilience(retry=Retry(type="none"), timeouts=Timeouts(total_s=0.02, control_total_s=0.04))
LOGGER = "object_service.chassis.resilience.steps"
FAILURE = AdapterUnavailableError("HTTP 503", adapter="mine", operation="greet", cause=ValueError("vendor"))


class _Greeter(Greeter):
    """A greeter that does something else."""

    def __init__(self, action: Callable[[], Awaitable[object]]) -> None:
        super().__init__()
        self._action = action

    async def greet(self, name: str, *, loud: bool = False) -> str:
        await super().greet(name, loud=loud)
        return str(await self._action())

    async def begin(self) -> str:
        return await self.greet("begin")


def _port(action: Callable[[], Awaitable[object]], settings: Resilience = FAST) -> _Greeter:
    return guard(_Greeter(action), Guards("mine", settings).pipeline, OPERATIONS, provider="mine", kind="stub")


def _raising(error: BaseException) -> Callable[[], Awaitable[object]]:
    async def action() -> object:
        raise error

    return action


async def _hang() -> object:
    await asyncio.Event().wait()
    return None


async def _remaining() -> object:
    return current().remaining_s()


def _lines(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.name == LOGGER]


async def test_a_call_that_hangs_ends_at_its_deadline() -> None:
    """The configured total bounds every call."""
    with pytest.raises(AdapterDeadlineError) as caught:
        await _port(_hang).greet("x")

    assert ("mine", "greet", "deadline_exceeded") == (caught.value.adapter, caught.value.operation, caught.value.code)
    assert isinstance(caught.value.__cause__, TimeoutError)


async def test_a_passed_deadline_sends_nothing() -> None:
    """Who comes too late is refused before the provider is called."""
    port = _port(_hang)
    with entered(Context("c", deadline=0.0)), pytest.raises(AdapterDeadlineError):
        await port.greet("x")

    assert [] == port.calls


@pytest.mark.parametrize(
    ("most_s", "operation", "caller_s"),
    [(0.02, "greet", None), (0.04, "begin", None), (0.01, "greet", 0.01), (0.02, "greet", 5.0)],
    ids=["total", "control-total", "caller-nearer", "caller-farther"],
)
async def test_the_nearer_of_deadline_and_total_counts(most_s: float, operation: str, caller_s: float | None) -> None:
    """Calls that steer have a total of their own, and a caller may only shorten; the provider sees what is left."""
    context = Context("c") if caller_s is None else Context("c").shortened(caller_s)
    port = _port(_remaining)

    with entered(context):
        left_s = float(await (port.greet("x") if operation == "greet" else port.begin()))

    assert most_s / 2 < left_s <= most_s


async def test_the_deadline_of_a_call_does_not_outlive_it() -> None:
    """The context of the caller is the same afterwards."""
    with entered(Context("c")) as context:
        await _port(_remaining).greet("x")
        assert current_or_none() is context


@pytest.mark.parametrize(
    "error",
    [FAILURE, RequestError("No."), AdapterError("x", adapter="a", operation="b")],
    ids=lambda e: type(e).__name__,
)
async def test_translated_errors_pass_as_they_are(error: Exception) -> None:
    """What an adapter has translated is not touched."""
    with pytest.raises(type(error)) as caught:
        await _port(_raising(error)).greet("x")

    assert error is caught.value


UNTRANSLATED = [KeyError("key abc"), OSError("x"), ValueError("x"), asyncio.CancelledError()]


@pytest.mark.parametrize("error", UNTRANSLATED, ids=lambda e: type(e).__name__)
async def test_an_untranslated_error_becomes_an_unreadable_answer(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    """A defect of an adapter is a provider error for the caller, and a trace for its owner."""
    with pytest.raises(AdapterResponseError) as caught:
        await _port(_raising(error)).greet("x")

    assert f"mine.greet: untranslated {type(error).__name__}" == str(caught.value)
    assert error is caught.value.__cause__
    (line,) = [record for record in _lines(caplog) if record.message == "provider_raised_untranslated"]
    assert line.exc_info is not None


async def test_a_time_limit_of_the_vendor_is_not_our_deadline() -> None:
    """A TimeoutError that the adapter let out is the provider's timeout, while time is left."""
    error = TimeoutError()
    with pytest.raises(AdapterTimeoutError) as caught:
        await _port(_raising(error), Resilience()).greet("x")

    assert error is caught.value.__cause__


async def test_cancellation_passes_through(caplog: pytest.LogCaptureFixture) -> None:
    """A cancelled caller is cancelled, without an error or a translation; one line says so."""
    caplog.set_level(logging.INFO)
    task = asyncio.create_task(_port(_hang, Resilience()).greet("x"))
    await asyncio.sleep(0)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task

    assert [("INFO", "provider_call_cancelled")] == [(line.levelname, line.message) for line in _lines(caplog)]


async def test_one_line_tells_how_a_call_ended(caplog: pytest.LogCaptureFixture) -> None:
    """Provider, operation and duration; nothing of what was said."""
    caplog.set_level(logging.INFO)

    await _port(_remaining).greet("secret words")

    (line,) = _lines(caplog)
    assert ("provider_call_succeeded", "INFO") == (line.message, line.levelname)
    assert {"provider": "mine", "operation": "greet"}.items() <= vars(line).items()
    assert 0 <= vars(line)["duration_ms"] < 1000
    assert "secret words" not in str(vars(line))


@pytest.mark.parametrize(
    ("level", "error", "fields"),
    [
        ("WARNING", FAILURE, {"code": "provider_unavailable", "error": "mine.greet: HTTP 503", "cause": "ValueError"}),
        ("INFO", RequestError("No."), {"code": "invalid_request", "error": "No."}),
    ],
    ids=["provider", "caller"],
)
async def test_one_line_tells_why_a_call_failed(
    caplog: pytest.LogCaptureFixture, level: str, error: Exception, fields: dict[str, str]
) -> None:
    """A failing provider is a warning, a wrong request is none."""
    caplog.set_level(logging.INFO)

    with pytest.raises(type(error)):
        await _port(_raising(error)).greet("x")

    (line,) = _lines(caplog)
    assert ("provider_call_failed", level) == (line.message, line.levelname)
    assert fields.items() <= vars(line).items()


async def test_polling_is_quiet(caplog: pytest.LogCaptureFixture) -> None:
    """The many reads of a job are only for debugging."""
    caplog.set_level(logging.DEBUG)

    await _port(_remaining).read()

    assert ["DEBUG"] == [line.levelname for line in _lines(caplog)]
