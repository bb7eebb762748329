"""A provider is chosen by name, and a wrong name is answered with the right one."""

import pytest

from object_service.chassis.contracts.errors import RequestError
from object_service.chassis.contracts.providers import Provider, Providers, did_you_mean, nearest

PROVIDERS = Providers("echo", {name: Provider(name, "kind", f"port of {name}") for name in ("openai", "echo")})


@pytest.mark.parametrize(("expected", "name"), [("echo", None), ("echo", "echo"), ("openai", "openai")])
def test_a_provider_is_chosen_by_name(expected: str, name: str | None) -> None:
    """No name means the selected provider."""
    assert expected == PROVIDERS.choose(name).name


def test_a_wrong_name_is_answered_with_the_nearest_and_all() -> None:
    """The message is that of the contract; the pointer leads to the field."""
    with pytest.raises(RequestError) as caught:
        PROVIDERS.choose("ecko")

    assert "No provider named 'ecko'. Did you mean 'echo'? Available: echo, openai." == caught.value.user_message
    assert ("unknown_provider", "/provider", "body") == (
        caught.value.code,
        caught.value.pointer,
        caught.value.location,
    )


def test_a_strange_name_is_answered_without_a_guess() -> None:
    """What is like nothing gets no suggestion; the pointer begins where the request stands."""
    with pytest.raises(RequestError) as caught:
        PROVIDERS.choose("zzz", above="/items/3")

    assert "No provider named 'zzz'. Available: echo, openai." == caught.value.user_message
    assert "/items/3/provider" == caught.value.pointer


def test_a_long_name_is_not_repeated_in_full() -> None:
    """The answer does not grow with the mistake, nor does the time to find a hint."""
    with pytest.raises(RequestError) as caught:
        PROVIDERS.choose("x" * 100_000)

    assert f"No provider named '{'x' * 64}'. Available: echo, openai." == caught.value.user_message


@pytest.mark.parametrize("name", ["", "ECHO", "echo ", "../echo", "é"])
def test_names_are_taken_literally(name: str) -> None:
    """Neither case nor spaces are guessed away, and the empty name is not the default."""
    with pytest.raises(RequestError):
        PROVIDERS.choose(name)


def test_the_nearest_name_is_found() -> None:
    """A near name is offered, a far one is not."""
    assert ("provider", None) == (nearest("provdier", ["provider", "port"]), nearest("xyz", ["provider", "port"]))
    assert (" Did you mean 'provider'?", "") == (did_you_mean("provdier", ["provider"]), did_you_mean("x", []))
