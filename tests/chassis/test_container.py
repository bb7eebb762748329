"""The container holds one instance per type and closes everything in reverse order."""

import pytest

from object_service.chassis.container import Container, UnknownTypeError


async def test_instances_are_found_by_their_type() -> None:
    """What is provided is returned and found; a subclass counts as its own type only."""
    container = Container()

    assert "x" == container.provide(str, "x") == container[str]
    assert (True, False) == (str in container, int in container)


def test_a_type_is_provided_once() -> None:
    """A second instance would hide the first."""
    container = Container()
    container.provide(str, "x")

    with pytest.raises(ValueError, match="str is provided twice"):
        container.provide(str, "y")
    assert "x" == container[str]


def test_a_missing_type_says_what_to_do() -> None:
    """The message names the type."""
    with pytest.raises(UnknownTypeError, match="nothing provides int; provide it in the install function"):
        Container()[int]


async def test_everything_is_closed_in_reverse_order() -> None:
    """What was built last may need what was built first."""
    closed: list[int] = []

    async with Container() as container:
        for number in range(3):

            async def close(number: int = number) -> None:
                closed.append(number)

            container.on_close(close)
        assert [] == closed

    assert [2, 1, 0] == closed


async def test_a_failing_close_does_not_keep_the_others_open() -> None:
    """All are closed, and the failure is told."""
    closed: list[str] = []

    async def first() -> None:
        closed.append("first")

    async def failing() -> None:
        raise OSError("disk")

    async def last() -> None:
        closed.append("last")

    container = Container()
    for close in (first, failing, last):
        container.on_close(close)

    with pytest.raises(OSError, match="disk"):
        await container.__aexit__(None, None, None)

    assert ["last", "first"] == closed


async def test_a_failing_start_closes_what_was_built() -> None:
    """An exception inside the block closes everything and passes on."""
    closed: list[str] = []

    async def close() -> None:
        closed.append("x")

    container = Container()
    container.on_close(close)

    with pytest.raises(KeyError):
        async with container:
            raise KeyError

    assert ["x"] == closed


def test_pings_are_kept_by_name() -> None:
    """Readiness asks them under the name they were given."""

    async def ping() -> None:
        return None

    container = Container()
    container.add_ping("database", ping)

    assert {"database": ping} == container.pings
