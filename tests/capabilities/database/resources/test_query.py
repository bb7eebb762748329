"""Query: what parameters mean, and how those are refused that mean nothing."""

import json
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capabilities.database.resources.songs import FILTERS, SONGS, SORTS
from object_service.capabilities.database.resources.pages import MAX_PAGE, Following, asked, cursor, position
from object_service.capabilities.database.resources.query import Condition, Grammar, Key, Query
from object_service.capabilities.database.resources.records import Records
from object_service.chassis.contracts.errors import RequestError

RECORDS = Records(SONGS)
GRAMMAR = Grammar(SONGS, RECORDS)
MOMENT = datetime(2025, 1, 31, 10, 0, 0, 123456, tzinfo=UTC)
BIG = 2**63


def of(**given: str) -> Query:
    """Return the question of parameters."""
    return GRAMMAR.query(given)


def filtered(**filters: Any) -> tuple[Condition, ...]:
    """Return the conditions of a filter."""
    return of(filter=json.dumps(filters)).conditions


def test_nothing_asked_is_everything_in_the_order_of_ids() -> None:
    """Without parameters there are all fields of all records that are not deleted."""
    assert Query(keys=(Key("id"),), fields=RECORDS.names) == of()


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        pytest.param("language", "en", ("en",), id="text"),
        pytest.param("language", ["en", "de", "en"], ("en", "de"), id="one-of"),
        pytest.param("language", None, (), id="absent"),
        pytest.param("is_active", False, (False,), id="truth"),
        pytest.param("plays", -(2**31), (-(2**31),), id="whole-number"),
        pytest.param("listeners", BIG - 1, (BIG - 1,), id="long-whole-number"),
        pytest.param("duration_s", 3, (3.0,), id="number-without-fraction"),
        pytest.param("released", "2025-01-31", (date(2025, 1, 31),), id="date"),
        pytest.param("created_at", "2025-01-31", (datetime(2025, 1, 31, tzinfo=UTC),), id="first-moment-of-a-day"),
        pytest.param("created_at", "2025-01-31T10:00:00.123456Z", (MOMENT,), id="moment"),
        pytest.param("created_at", "2025-01-31t12:30:00.1234569+02:30", (MOMENT,), id="moment-elsewhere"),
        pytest.param("tags", ["a", "b"], ("a", "b"), id="tags"),
    ],
)
def test_a_filter_has_values_of_its_column(name: str, value: Any, expected: tuple[Any, ...]) -> None:
    """Values are those that the column holds; a list means one of them, null that there is none."""
    assert (Condition(name, "in", expected),) == filtered(**{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param("title", 7, id="number-for-a-text"),
        pytest.param("title", None, id="null-where-there-is-always-a-value"),
        pytest.param("title", {"gt": "a"}, id="object"),
        pytest.param("title", [["a"]], id="list-in-a-list"),
        pytest.param("title", [], id="one-of-nothing"),
        pytest.param("title", [None], id="null-in-a-list"),
        pytest.param("title", ["a"] * 101, id="too-many-values"),
        pytest.param("title", "a\x00b", id="nul"),
        pytest.param("title", "\ud800", id="half-a-character"),
        pytest.param("title", "a" * 1001, id="long-text"),
        pytest.param("is_active", 1, id="number-for-a-truth"),
        pytest.param("is_active", "true", id="text-for-a-truth"),
        pytest.param("plays", True, id="truth-for-a-number"),
        pytest.param("plays", 1.0, id="fraction"),
        pytest.param("plays", 2**31, id="beyond-32-bits"),
        pytest.param("listeners", BIG, id="beyond-64-bits"),
        pytest.param("listeners", -BIG - 1, id="below-64-bits"),
        pytest.param("duration_s", 10**400, id="number-beyond-all"),
        pytest.param("duration_s", "3", id="text-for-a-number"),
        pytest.param("duration_s", False, id="truth-for-a-fraction"),
        pytest.param("released", "2025-02-30", id="no-such-day"),
        pytest.param("released", "2025-1-1", id="short-date"),
        pytest.param("created_at", "2025-01-31T10:00:00", id="moment-of-nowhere"),
        pytest.param("created_at", "2025-01-31T24:00:00Z", id="no-such-hour"),
        pytest.param("created_at", "0001-01-01T00:00:00+01:00", id="before-all-time"),
        pytest.param("created_at", "\u0662\u0660\u0662\u0665-\u0660\u0661-\u0660\u0661", id="digits-of-another-script"),
        pytest.param("tags", 1, id="number-for-a-tag"),
    ],
)
def test_a_value_of_another_kind_is_refused(name: str, value: Any) -> None:
    """The refusal points to the field and says what is expected."""
    with pytest.raises(RequestError, match=f"filter/{name}: expected") as caught:
        filtered(**{name: value})
    assert ("invalid_request", f"/filter/{name}", "query") == (
        caught.value.code,
        caught.value.pointer,
        caught.value.location,
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "[]",
        "null",
        '"title"',
        '{"title": "a"',
        '{"title": "a", "title": "b"}',
        '{"duration_s": NaN}',
        '{"duration_s": -Infinity}',
        '{"duration_s": 1e999}',
        '{"duration_s": ' + "9" * 4070 + "}",
        '{"title": ' * 300,
        "[" * 4096,
        '{"title":' + "[" * 4000,
        "{" + " " * 4096 + "}",
    ],
    ids=lambda text: f"{len(text)}-{text[:24]}",
)
def test_a_filter_that_cannot_be_read_is_refused(text: str) -> None:
    """Neither depth nor length nor what only Python reads as JSON gets through."""
    with pytest.raises(RequestError, match=r"filter.*: expected"):
        of(filter=text)


@pytest.mark.parametrize(
    ("parameter", "text", "pointer"),
    [
        pytest.param("filter", '{"secret": "x"}', "/filter/secret", id="filter-by-what-is-not-shown"),
        pytest.param("filter", '{"a/b~": 1}', "/filter/a~1b~0", id="odd-name"),
        pytest.param("sort", "secret", "/sort/secret", id="sort-by-what-is-not-shown"),
        pytest.param("sort", "", "/sort/", id="sort-by-nothing"),
        pytest.param("sort", "title,", "/sort/", id="sort-by-nothing-then"),
        pytest.param("sort", "--title", "/sort/-title", id="two-signs"),
        pytest.param("fields", "id,secret", "/fields/secret", id="hidden-field"),
        pytest.param("fields", "version", "/fields/version", id="column-that-is-no-field"),
        pytest.param("fields", "", "/fields/", id="no-field"),
    ],
)
def test_an_unknown_field_is_refused(parameter: str, text: str, pointer: str) -> None:
    """The refusal names the fields that may be asked for."""
    with pytest.raises(RequestError, match=r"Known: .*title") as caught:
        of(**{parameter: text})
    assert ("unknown_field", pointer) == (caught.value.code, caught.value.pointer)


def test_a_near_name_is_suggested() -> None:
    """A slip of the pen is easy to correct."""
    with pytest.raises(RequestError, match="Did you mean 'title'"):
        of(sort="titel")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("-created_at,+title", [("created_at", True), ("title", False), ("id", False)], id="signs"),
        pytest.param(
            "-created_at, title", [("created_at", True), ("title", False), ("id", False)], id="unescaped-plus"
        ),
        pytest.param("title,-plays", [("title", False), ("plays", True), ("id", True)], id="id-goes-the-last-way"),
        pytest.param("-id", [("id", True)], id="by-id"),
        pytest.param("title,-id,plays", [("title", False), ("id", True)], id="nothing-is-equal-after-the-id"),
    ],
)
def test_every_order_ends_with_the_id(text: str, expected: list[tuple[str, bool]]) -> None:
    """Two records never stand in the same place."""
    assert tuple(Key(*key) for key in expected) == of(sort=text).keys


@pytest.mark.parametrize(
    ("parameter", "text"),
    [
        pytest.param("sort", "title,-title", id="sorted-twice"),
        pytest.param("include_deleted", "yes", id="yes"),
        pytest.param("include_deleted", "", id="empty-truth"),
        pytest.param("search", "a" * 201, id="long-search"),
        pytest.param("search", "a\x00", id="nul-in-search"),
        pytest.param("search", " ".join("abcdefghijk"), id="many-words"),
        pytest.param("plays[gt]", "1.5", id="fraction"),
        pytest.param("plays[gt]", "1_0", id="number-of-python"),
        pytest.param("plays[gt]", "9" * 30, id="long-number"),
        pytest.param("plays[gt]", "", id="empty-bound"),
        pytest.param("duration_s[lt]", "nan", id="nan"),
        pytest.param("duration_s[lt]", "1e999", id="infinite"),
        pytest.param("created_at[gte]", "yesterday", id="yesterday"),
        pytest.param("title[gte]", "a\x00", id="nul-in-a-bound"),
    ],
)
def test_a_value_that_cannot_be_read_is_refused(parameter: str, text: str) -> None:
    """The refusal points to the parameter."""
    with pytest.raises(RequestError, match="expected") as caught:
        of(**{parameter: text})
    assert ("invalid_request", f"/{parameter}") == (caught.value.code, caught.value.pointer)


def test_ranges_are_read() -> None:
    """Each operator is a parameter of its own; the plus of an offset may arrive as a space."""
    ranges = {"created_at[gte]": "2025-01-31T12:00:00.123456 02:00", "created_at[lt]": "2025-02-01", "plays[lte]": "+7"}
    expected = {
        Condition("created_at", "gte", (MOMENT,)),
        Condition("created_at", "lt", (datetime(2025, 2, 1, tzinfo=UTC),)),
        Condition("plays", "lte", (7,)),
    }
    assert expected == set(of(**ranges).conditions)


def test_fields_keep_their_order_and_words_their_case() -> None:
    """Fields come as the record has them, each once; blanks part the words of a search."""
    query = of(fields="title,id,title", search=" Alice \t bob Alice ")
    assert (("title", "id"), ("Alice", "bob")) == (query.fields, query.words)


PARAMETERS = ["filter", "sort", "fields", "search", "include_deleted", "after", "page", "size", *GRAMMAR.ranges]
WORDS = [
    *FILTERS,
    *SORTS,
    "id",
    "secret",
    "true",
    "null",
    "NaN",
    "1",
    "-1",
    "1e5",
    "2025-01-01",
    "T00:00:00Z",
    "9" * 25,
]
TEXTS = st.lists(st.sampled_from([*WORDS, *'{}[]":, -+\\\x00']) | st.text(max_size=3), max_size=12).map("".join)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
OBJECTS = st.dictionaries(st.sampled_from(FILTERS), JSON, max_size=3).map(json.dumps)


@given(given=st.dictionaries(st.sampled_from(PARAMETERS), TEXTS | OBJECTS, max_size=4))
def test_whatever_is_asked_is_understood_or_refused(given: dict[str, str]) -> None:
    """No text is an accident: there is a question, or a refusal that says where it went wrong."""
    refusal: RequestError | None = None
    try:
        query = GRAMMAR.query(given)
        part = asked(given, query, GRAMMAR)
    except RequestError as error:
        refusal = error
    else:
        assert "id" == query.keys[-1].name
        assert 1 <= part.size <= 1000
        assert isinstance(part, Following) or 1 <= part.page <= MAX_PAGE
    assert refusal is None or (refusal.code in ("invalid_request", "unknown_field") and refusal.pointer)


@given(data=st.data(), sort=st.permutations(SORTS).map(lambda names: names[:3]))
def test_a_cursor_leads_back_to_its_position(data: st.DataObject, sort: list[str]) -> None:
    """What a record has in its sort columns comes back exactly."""
    floats = st.floats(allow_nan=False, allow_infinity=False)
    held: dict[str, st.SearchStrategy[Any]] = {
        "title": st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=200),
        "language": st.none() | st.just("en"),
        "duration_s": st.none() | floats,
        "plays": st.integers(-(2**31), 2**31 - 1),
        "listeners": st.none() | st.integers(-BIG, BIG - 1),
        "released": st.none() | st.dates(),
        "created_at": st.datetimes(timezones=st.just(UTC)),
        "id": st.just("son_1"),
    }
    query = of(sort=",".join(sort))
    values = [data.draw(held[key.name]) for key in query.keys]
    assert values == list(position(cursor(values, query), query, GRAMMAR))
