"""Bodies are read strictly: what cannot be read, or says something else, is named by code and pointer."""

from collections.abc import AsyncIterator

import pytest

from chassis.web.app import client_of, post, problem_of


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", ""])
async def test_another_type_of_body_is_refused(kind: str) -> None:
    """Only what calls itself JSON is read as JSON."""
    response = await post('{"name": "a"}', {"Content-Type": kind})

    assert (415, "unsupported_media") == (response.status_code, problem_of(response)["code"])
    assert "Expected a body of type application/json." == problem_of(response)["detail"]


@pytest.mark.parametrize("kind", ["application/json", "Application/JSON; charset=utf-8", "application/json;x=y"])
async def test_json_may_have_parameters(kind: str) -> None:
    """Case and parameters of the media type do not matter."""
    assert 200 == (await post('{"name": "a"}', {"Content-Type": kind})).status_code


@pytest.mark.parametrize("chunked", [False, True], ids=["stated", "chunked"])
async def test_a_body_that_is_too_large_is_refused(chunked: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """More than a route takes is a 413, whether the length is stated or not."""

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b" " * 1000

    async with client_of() as client:
        headers = {"Content-Type": "application/json"}
        content = pieces() if chunked else b" " * 100_000
        response = await client.post("/v1/things", content=content, headers=headers)

    assert (413, "body_too_large") == (response.status_code, problem_of(response)["code"])


@pytest.mark.parametrize("size", [1000, 1001, 900_000], ids=["limit", "over", "far"])
async def test_a_route_may_read_less_than_it_takes(size: int) -> None:
    """A route of which only some bodies may be long stops reading the others early."""
    sent: list[int] = []

    async def pieces() -> AsyncIterator[bytes]:
        for begin in range(0, size, 1000):
            sent.append(min(1000, size - begin))
            yield bytes(sent[-1])

    async with client_of() as client:
        response = await client.post("/v1/read", content=pieces())

    if size == 1000:
        assert {"bytes": 1000} == response.json()
    else:
        assert (413, "body_too_large") == (response.status_code, problem_of(response)["code"])
        assert sum(sent) < 5000


MALFORMED = {
    "empty": b"",
    "cut": b'{"name": ',
    "words": b"hello",
    "trailing-comma": b'{"name": "a",}',
    "two-documents": b"{}{}",
    "not-utf8": b'{"name": "\xff"}',
    "nested-lists": b"[" * 30_000,
    "nested-objects": b'{"a":' * 10_000,
    "giant-number": b'{"name": "a", "count": ' + b"9" * 10_000 + b"}",
    "nul": b"\x00",
}


@pytest.mark.parametrize("kind", ["application/json", "Application/JSON"])
@pytest.mark.parametrize("content", MALFORMED.values(), ids=MALFORMED)
async def test_a_body_that_cannot_be_read_is_malformed(content: bytes, kind: str) -> None:
    """Whatever is wrong with the text, it is a 400, without a part of the body and without a crash."""
    response = await post(content, {"Content-Type": kind})

    document = problem_of(response)
    assert (400, "malformed_json") == (response.status_code, document["code"])
    expected = "The body cannot be read as JSON." if content else "Expected a JSON object as the body."
    assert expected == document["detail"]
    assert "errors" not in document


INVALID = {
    "missing": ('{"count": 1}', "/name", "invalid_request"),
    "empty": ('{"name": ""}', "/name", "invalid_request"),
    "null": ('{"name": null}', "/name", "invalid_request"),
    "wrong-type": ('{"name": "a", "count": "1"}', "/count", "invalid_request"),
    "fraction": ('{"name": "a", "count": 1.5}', "/count", "invalid_request"),
    "nan": ('{"name": "a", "price": NaN}', "/price", "invalid_request"),
    "infinity": ('{"name": "a", "price": -Infinity}', "/price", "invalid_request"),
    "overflow": ('{"name": "a", "price": 1e999}', "/price", "invalid_request"),
    "surrogate": ('{"name": "\\ud800"}', "/name", "invalid_request"),
    "unknown": ('{"name": "a", "nmae": 1}', "/nmae", "unknown_field"),
    "unknown-escaped": ('{"name": "a", "a/b~c": 1}', "/a~1b~0c", "unknown_field"),
    "surrogate-name": ('{"name": "a", "\\udfff": 1}', "", "invalid_request"),
    "nested": ('{"name": "a", "parts": [{"size": 1}, {"size": "x"}]}', "/parts/1/size", "invalid_request"),
    "nested-unknown": ('{"name": "a", "parts": [{"size": 1, "x": 1}]}', "/parts/0/x", "unknown_field"),
    "mapping": ('{"name": "a", "counts": {"~/": "x"}}', "/counts/~0~1", "invalid_request"),
    "list": ("[]", "", "invalid_request"),
    "number": ("5", "", "invalid_request"),
}


@pytest.mark.parametrize(("content", "pointer", "code"), INVALID.values(), ids=INVALID)
async def test_a_wrong_value_is_named_by_its_pointer(content: str, pointer: str, code: str) -> None:
    """The pointer is a JSON pointer with `~` and `/` escaped; the code says what kind of mistake it is."""
    response = await post(content)

    document = problem_of(response)
    assert (422, code) == (response.status_code, document["code"])
    assert [("body", pointer, code)] == [(e["in"], e["pointer"], e["code"]) for e in document["errors"]]
    message = document["errors"][0]["message"]
    assert (f"{pointer}: {message}" if pointer else message) == document["detail"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "Expected an object."),
        ('{"name": "a", "parts": [5]}', "Expected an object."),
        ('{"name": "a", "counts": 5}', "Expected an object."),
        ('{"name": "a", "count": "1"}', "Expected integer"),
        ("{}", "The field is required."),
        ('{"name": "a", "x": 1}', "No field has this name."),
    ],
    ids=["list", "nested", "mapping", "type", "missing", "unknown"],
)
async def test_a_mistake_is_told_in_plain_words(content: str, message: str) -> None:
    """Whoever sent it need not know what the service is written in."""
    assert message == problem_of(await post(content))["errors"][0]["message"]


async def test_several_mistakes_are_listed() -> None:
    """One code when all agree, the general one otherwise; the detail counts the rest."""
    document = problem_of(await post('{"x": 1, "y": 2}'))

    assert "invalid_request" == document["code"]
    assert {"/name", "/x", "/y"} == {error["pointer"] for error in document["errors"]}
    assert document["detail"].endswith(" (2 more)")


async def test_a_flood_of_mistakes_is_cut() -> None:
    """At most 20 are listed, and a long name is not repeated in full."""
    names = ", ".join(f'"{"x" * 400}{number}": 1' for number in range(50))

    document = problem_of(await post(f'{{"name": "a", {names}}}'))

    assert "unknown_field" == document["code"]
    assert 20 == len(document["errors"])
    assert {256} == {len(error["pointer"]) for error in document["errors"]}
    assert document["detail"].endswith(" (49 more)")
