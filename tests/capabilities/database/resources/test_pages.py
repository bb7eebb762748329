"""Pages: where the next one is, and what a cursor is good for."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capabilities.database.resources.songs import SONGS
from object_service.capabilities.database.resources import pages
from object_service.capabilities.database.resources.pages import Following, Numbered, asked, cursor, links, position
from object_service.capabilities.database.resources.query import Grammar
from object_service.capabilities.database.resources.records import Records
from object_service.chassis.contracts.errors import RequestError

GRAMMAR = Grammar(SONGS, Records(SONGS))
BY_LENGTH = GRAMMAR.query({"sort": "-duration_s"})


def made(*content: object) -> str:
    """Return a cursor with any content."""
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")


def test_nothing_asked_is_the_first_page() -> None:
    """A page is as long as the contract says."""
    assert Numbered(page=1, size=20) == asked({}, BY_LENGTH, GRAMMAR)


def test_an_empty_cursor_begins() -> None:
    """Who wants to go through a whole collection begins with `after=`."""
    assert Following(after=None, size=7) == asked({"after": "", "size": "7"}, BY_LENGTH, GRAMMAR)


@pytest.mark.parametrize(
    ("given_", "pointer"),
    [
        pytest.param({"page": "0"}, "/page", id="page-0"),
        pytest.param({"page": "10000001"}, "/page", id="page-beyond-all"),
        pytest.param({"page": "1.0"}, "/page", id="part-of-a-page"),
        pytest.param({"page": ""}, "/page", id="no-page"),
        pytest.param({"page": "٣"}, "/page", id="digit-of-another-script"),
        pytest.param({"size": "0"}, "/size", id="nothing"),
        pytest.param({"size": "1001"}, "/size", id="too-much"),
        pytest.param({"size": "-1"}, "/size", id="less-than-nothing"),
        pytest.param({"size": "9" * 5000}, "/size", id="long-number"),
        pytest.param({"page": "1", "after": ""}, "/page", id="page-and-cursor"),
    ],
)
def test_a_part_that_is_none_is_refused(given_: dict[str, str], pointer: str) -> None:
    """The refusal points to the parameter."""
    with pytest.raises(RequestError, match="expected") as caught:
        asked(given_, BY_LENGTH, GRAMMAR)
    assert pointer == caught.value.pointer


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"sort": "duration_s"}, id="other-direction"),
        pytest.param({"sort": "-duration_s,title"}, id="one-more-column"),
        pytest.param({"sort": "-duration_s", "filter": '{"plays": 1}'}, id="filter"),
        pytest.param({"sort": "-duration_s", "plays[gt]": "1"}, id="range"),
        pytest.param({"sort": "-duration_s", "search": "a"}, id="search"),
        pytest.param({"sort": "-duration_s", "include_deleted": "true"}, id="deleted-ones-too"),
    ],
)
def test_a_cursor_belongs_to_one_question(other: dict[str, str]) -> None:
    """Under another question it would skip or repeat records."""
    text = cursor([3.0, "son_1"], BY_LENGTH)
    with pytest.raises(RequestError, match="belongs to another sort, filter or search; begin again with after="):
        position(text, GRAMMAR.query(other), GRAMMAR)


@pytest.mark.parametrize(
    "same",
    [
        pytest.param({"fields": "id"}, id="other-fields"),
        pytest.param({"sort": "-duration_s,-id"}, id="id-stated"),
        pytest.param({"sort": "-duration_s", "search": " "}, id="search-for-nothing"),
    ],
)
def test_a_cursor_allows_what_does_not_change_the_order(same: dict[str, str]) -> None:
    """Fields and size may change from page to page."""
    query = GRAMMAR.query({"sort": "-duration_s", **same})
    assert [3.0, "son_1"] == position(cursor([3.0, "son_1"], BY_LENGTH), query, GRAMMAR)


def test_the_order_in_which_a_question_is_asked_does_not_matter() -> None:
    """A filter is the same whichever condition comes first."""
    first = GRAMMAR.query({"filter": '{"plays": 1, "title": "a"}', "plays[gt]": "0"})
    second = GRAMMAR.query({"plays[gt]": "0", "filter": '{"title": "a", "plays": 1}'})
    assert first.digest() == second.digest()


@pytest.mark.parametrize(
    "text",
    [
        "x",
        "a b",
        "ä",
        "=" * 8,
        "A" * 16385,
        made(),
        made([]),
        made(BY_LENGTH.digest()),
        made(BY_LENGTH.digest(), 3.0),
        made(BY_LENGTH.digest(), 3.0, "son_1", 1),
        made(BY_LENGTH.digest(), "3", "son_1"),
        made(BY_LENGTH.digest(), *[True, "son_1"]),
        made(BY_LENGTH.digest(), 10**400, "son_1"),
        made(BY_LENGTH.digest(), float("nan"), "son_1"),
        made(BY_LENGTH.digest(), 3.0, None),
        made(BY_LENGTH.digest(), 3.0, "\x00"),
        made(BY_LENGTH.digest(), 3.0, "\ud800"),
        made(BY_LENGTH.digest(), {"a": 1}, "son_1"),
        base64.urlsafe_b64encode(b"[" * 9000).decode().rstrip("="),
        base64.urlsafe_b64encode(b"\xff\xfe").decode().rstrip("="),
        base64.urlsafe_b64encode(b'{"a": 1}').decode().rstrip("="),
    ],
    ids=lambda text: f"{len(text)}-{text[-12:]}",
)
def test_a_cursor_that_was_not_given_out_is_refused(text: str) -> None:
    """Whatever somebody makes of a cursor, it is a refusal that says how to begin again."""
    with pytest.raises(RequestError, match="begin again with after=") as caught:
        position(text, BY_LENGTH, GRAMMAR)
    assert ("invalid_request", "/after") == (caught.value.code, caught.value.pointer)


@given(text=st.text("ABCabc012-_=", max_size=60) | st.text() | st.binary().map(lambda raw: made(raw.hex())))
def test_no_text_is_an_accident_as_a_cursor(text: str) -> None:
    """Guessing leads to refusals only."""
    with pytest.raises(RequestError):
        position(text, BY_LENGTH, GRAMMAR)


def test_links_keep_the_question() -> None:
    """All parameters but those that say where are repeated, escaped for an address."""
    given_ = [("filter", '{"title": "ä>"}'), ("page", "2"), ("size", "5")]
    related = pages.related_pages(Numbered(2, 5), total=11)
    kept = "filter=%7B%22title%22%3A+%22%C3%A4%3E%22%7D"
    expected = ", ".join(
        f'</v1/songs?{kept}&page={page}&size=5>; rel="{relation}"'
        for relation, page in (("next", 3), ("prev", 1), ("first", 1), ("last", 3))
    )
    assert {"Link": expected} == links("/v1/songs", given_, related)


@pytest.mark.parametrize(
    ("page", "total", "expected"),
    [
        pytest.param(1, 0, {"first": 1, "last": 1}, id="nothing-there"),
        pytest.param(1, 10, {"first": 1, "last": 1}, id="all-on-one"),
        pytest.param(1, 11, {"next": 2, "first": 1, "last": 2}, id="one-more"),
        pytest.param(2, 11, {"prev": 1, "first": 1, "last": 2}, id="the-last"),
        pytest.param(9, 11, {"prev": 2, "first": 1, "last": 2}, id="behind-the-last"),
    ],
)
def test_pages_lead_to_each_other(page: int, total: int, expected: dict[str, int]) -> None:
    """There is a next page only if it has something, and the way back leads to pages that do."""
    found = pages.related_pages(Numbered(page, 10), total)
    assert expected == {relation: stated["page"] for relation, stated in found.items()}


def test_links_stay_shorter_than_proxies_allow() -> None:
    """The way on is the last to be left out."""
    related = pages.related_pages(Numbered(2, 5), total=100)
    short = links("/v1/songs", [("filter", "x" * 1500)], related)["Link"]
    assert (True, ["next", "prev"]) == (len(short) <= 4096, [part.split('"')[1] for part in short.split(", ")])
    assert {} == links("/v1/songs", [("filter", "x" * 5000)], related)


def test_the_question_of_a_cursor_is_the_same_in_every_process() -> None:
    """A cursor goes on after a restart, and on another replica."""
    assert "220810c8c22f60e3" == BY_LENGTH.digest()
