"""Conditional headers are read by the rules of RFC 9110, and hold a writer to the version that was read."""

import pytest

from object_service.capabilities.database.resources.etags import if_match, require_match, tags_in
from object_service.chassis.contracts.errors import RequestError


@pytest.mark.parametrize(
    ("expected", "headers"),
    [
        pytest.param(None, ["*"], id="any"),
        pytest.param(None, [" *\t"], id="any-with-spaces"),
        pytest.param({'"1"'}, ['"1"'], id="one"),
        pytest.param({'"1"', '"2"'}, ['"1", "2"'], id="list"),
        pytest.param({'"1"', '"2"'}, ['"1"', '"2"'], id="two-headers"),
        pytest.param({'"1"', '"2"'}, [',"1" ,, "2",'], id="empty-members"),
        pytest.param({'"a,b"'}, ['"a,b"'], id="comma-inside"),
        pytest.param({'W/"1"'}, ['W/"1"'], id="weak"),
        pytest.param({'""'}, ['""'], id="empty-tag"),
    ],
)
def test_a_conditional_header_is_any_or_a_list_of_tags(expected: set[str] | None, headers: list[str]) -> None:
    """Several headers count as one list; a comma in quotation marks separates nothing."""
    assert expected == tags_in(headers, "If-Match")


@pytest.mark.parametrize(
    "text",
    ["", "1", '"1', '1"', '"1" "2"', '*, "1"', '"1", *', 'w/"1"', "'1'", '"a"b"'],
    ids=["empty", "bare", "open", "closed", "no-comma", "any-first", "any-last", "small-w", "single", "inside"],
)
def test_anything_else_is_refused(text: str) -> None:
    """A header that cannot be read never counts as a match."""
    with pytest.raises(RequestError, match="If-None-Match") as caught:
        tags_in([text], "If-None-Match")

    assert ("invalid_header", "header") == (caught.value.code, caught.value.location)


def test_a_write_has_to_say_what_it_is_based_on() -> None:
    """Without If-Match nothing is changed."""
    with pytest.raises(RequestError) as caught:
        if_match([])

    assert "precondition_required" == caught.value.code


@pytest.mark.parametrize("asked", [None, frozenset({'"1"'}), frozenset({'"0"', '"1"'})], ids=["any", "same", "listed"])
def test_the_current_version_may_be_changed(asked: frozenset[str] | None) -> None:
    """`*`, the tag itself, and a list with the tag match."""
    require_match(asked, '"1"')


@pytest.mark.parametrize("tag", ['"2"', 'W/"1"', '"11"'], ids=["other", "weak", "longer"])
def test_another_version_may_not_be_changed(tag: str) -> None:
    """A weak tag never matches: If-Match compares strongly."""
    with pytest.raises(RequestError) as caught:
        require_match(frozenset({tag}), '"1"')

    assert "precondition_failed" == caught.value.code
