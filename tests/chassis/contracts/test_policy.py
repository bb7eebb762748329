"""Behaviour is decided field by field by the highest level that states it."""

from object_service.chassis.contracts.envelope import Notice
from object_service.chassis.contracts.policy import Level, resolve


def test_the_highest_level_decides_each_field() -> None:
    """Request over profile over settings; every field remembers where it came from."""
    resolved = resolve([Level("request", {"a": 1}), Level("profile", {"b": 2}), Level("settings", {"c": 3})])

    assert {"a": 1, "b": 2, "c": 3} == resolved.values
    assert {"a": "request", "b": "profile", "c": "settings"} == resolved.sources
    assert () == resolved.notices


def test_an_override_is_reported_once_per_level() -> None:
    """The notice names both levels and both values."""
    levels = [Level(n, {"max_output_tokens": v}) for n, v in (("request", 50), ("profile", 70), ("settings", 100))]

    resolved = resolve(levels)

    assert {"max_output_tokens": 50} == resolved.values
    assert (
        Notice("policy_overridden", "max_output_tokens: request 50 over profile 70"),
        Notice("policy_overridden", "max_output_tokens: request 50 over settings 100"),
    ) == resolved.notices


def test_agreement_is_no_override() -> None:
    """Two levels that say the same need no warning."""
    assert () == resolve([Level("request", {"a": 1}), Level("settings", {"a": 1})]).notices


def test_a_level_states_only_what_is_given() -> None:
    """None states nothing; 0 and False do."""
    assert Level("request", {"b": 0, "c": False}) == Level.of("request", a=None, b=0, c=False)


def test_a_field_that_contradicts_a_stronger_one_is_dropped() -> None:
    """The notice says which field of which level won."""
    resolved = resolve([Level("request", {"most": 1}), Level("settings", {"least": 2, "other": 3})])

    assert {"most": 1, "other": 3} == resolved.without("least", "most").values
    notice = Notice("policy_overridden", "least: request most 1 over settings 2")
    assert (notice,) == resolved.without("least", "most").notices


def test_no_levels_decide_nothing() -> None:
    """Without any level there is no field."""
    assert {} == resolve([]).values
