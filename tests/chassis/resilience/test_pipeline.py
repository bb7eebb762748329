"""The pipeline: composed once, in a stated order, around whatever a port does."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol, runtime_checkable

import pytest

from chassis.doubles import OPERATIONS, Greeter, Spy
from object_service.chassis.contracts.call import Operation, recording
from object_service.chassis.resilience.pipeline import Call, Middleware, Pipeline, guard


def _guarded(port: Greeter, *middlewares: Middleware) -> Greeter:
    return guard(port, Pipeline(middlewares), OPERATIONS, provider="mine", kind="stub")


def test_the_names_are_the_order_with_the_call_at_the_end() -> None:
    """`config show` prints the steps outermost first."""
    assert ("a", "b", "call") == Pipeline([Spy("a", []), Spy("b", [])]).names
    assert ("call",) == Pipeline([]).names


async def test_steps_nest_in_their_order() -> None:
    """The first step is entered first and left last."""
    notes: list[str] = []

    answer = await _guarded(Greeter(), Spy("a", notes), Spy("b", notes)).greet("x")

    assert "hello x" == answer
    assert ["enter a", "enter b", "leave b", "leave a"] == notes


async def test_steps_see_an_exception_on_its_way_out() -> None:
    """An error passes every step."""
    notes: list[str] = []
    port = Greeter()

    with pytest.raises(TypeError):
        await _guarded(port, Spy("a", notes)).greet()  # type: ignore[call-arg] # the point of the test

    assert ["enter a", "leave a"] == notes


async def test_arguments_reach_the_port() -> None:
    """Positional and keyword arguments go through unchanged."""
    assert "HELLO x" == await _guarded(Greeter()).greet("x", loud=True)


async def test_a_step_may_hand_on_a_changed_call() -> None:
    """Steps below see the copy; steps above do not."""
    seen: list[Call] = []

    class _Watch(Spy):
        async def __call__(self, call: Call, proceed: object) -> object:
            seen.append(call)
            return await super().__call__(call, proceed)  # type: ignore[arg-type] # passed on as it came

    async def other(name: str) -> str:
        return f"changed {name}"

    def change(call: Call) -> Call:
        return replace(call, provider="spare", method=other, args=("y",))

    answer = await _guarded(Greeter(), _Watch("a", []), Spy("b", [], change), _Watch("c", [])).greet("x")

    assert "changed y" == answer
    assert ["mine", "spare"] == [call.provider for call in seen]
    assert [("stub", "greet")] * 2 == [(call.kind, call.operation.name) for call in seen]


async def test_a_step_may_call_again() -> None:
    """Every attempt calls the port anew and is counted."""

    class _Twice:
        name = "twice"

        async def __call__(self, call: Call, proceed: object) -> object:
            await proceed(call)  # type: ignore[operator] # a Proceed
            return await proceed(call)  # type: ignore[operator] # a Proceed

    port = Greeter()
    with recording() as record:
        await _guarded(port, _Twice()).greet("x")

    assert (["x", "x"], 2) == (port.calls, record.attempts)


@pytest.mark.parametrize(
    ("expected", "names"),
    [(1, ["greet"]), (1, ["begin"]), (0, ["read"]), (1, ["begin", "read", "read"])],
    ids=["call", "submit", "poll", "long-work"],
)
async def test_attempts_count_how_often_work_was_asked_for(expected: int, names: Sequence[str]) -> None:
    """Polling a job is repeated by design and does not count."""
    port = _guarded(Greeter())
    with recording() as record:
        for name in names:
            await (port.greet("x") if name == "greet" else getattr(port, name)())

    assert expected == record.attempts


async def test_without_a_record_nothing_is_counted() -> None:
    """A call outside any recording works as well."""
    assert "hello x" == await _guarded(Greeter()).greet("x")


async def test_a_method_is_looked_up_at_each_call() -> None:
    """Replacing a method of the port, as tests and tracers do, works at any time."""
    port = Greeter()
    guarded = _guarded(port)
    held = guarded.greet

    async def other(name: str, *, loud: bool = False) -> str:
        return f"other {name} {loud}"

    port.greet = other  # type: ignore[method-assign] # the point of the test

    assert ("other x False", "other y False") == (await guarded.greet("x"), await held("y"))


async def test_what_is_no_operation_reaches_the_port_itself() -> None:
    """`aclose` and plain attributes do not go through the pipeline; a missing one is missing."""
    notes: list[str] = []
    port = Greeter()
    guarded = _guarded(port, Spy("a", notes))

    await guarded.aclose()

    assert (True, "greeter", []) == (port.closed, guarded.label, notes)
    assert "guarded(Greeter)" == repr(guarded)
    with pytest.raises(AttributeError):
        _ = guarded.missing  # type: ignore[attr-defined] # the point of the test


@runtime_checkable
class _Waving(Protocol):
    def wave(self) -> str: ...


class _Waver(Greeter):
    def wave(self) -> str:
        return "bye"


def test_what_a_port_can_do_beyond_its_operations_is_seen_through_the_stand_in() -> None:
    """An `isinstance` check of a further protocol answers as it would for the port itself."""
    waving = _guarded(_Waver())
    assert isinstance(waving, _Waving)
    assert "bye" == waving.wave()
    assert not isinstance(_guarded(Greeter()), _Waving)


def test_an_operation_that_the_port_lacks_is_lacking() -> None:
    """A port may do less than its object knows, and can be asked whether it does."""
    operations = {**OPERATIONS, "tell": Operation("tell", idempotent=False, returns="stream")}
    guarded = guard(Greeter(), Pipeline([]), operations, provider="mine", kind="stub")

    assert (True, False) == (hasattr(guarded, "greet"), hasattr(guarded, "tell"))


def test_an_operation_is_steering_only_when_it_says_so() -> None:
    """The default is an ordinary call."""
    assert Operation("x", idempotent=True, control=False) == Operation("x", idempotent=True)
