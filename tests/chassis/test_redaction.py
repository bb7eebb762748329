"""Secrets and personal data do not survive, wherever in a text or a value they stand."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from urllib.parse import unquote_plus, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AnyUrl, BaseModel, SecretBytes, SecretStr

from object_service.chassis.redaction import MASK, know, redact, redact_query, redact_text, secrets_in

SECRETS = st.text("abcdefghXYZ0123456789!$*+._~%^@-", min_size=6, max_size=40).map(lambda text: f"Q{text}Q")
TOKENS = st.text("abcdefghXYZ0123456789._~+/-", min_size=6, max_size=40).map(lambda text: f"Q{text}Q")
SECRET_KEYS = (
    "password",
    "db_password",
    "passwd",
    "passphrase",
    "pwd",
    "secret",
    "client_secret",
    "aws_secret_access_key",
    "api_key",
    "apiKey",
    "x-api-key",
    "access_key",
    "private_key",
    "token",
    "access_token",
    "refreshToken",
    "authorization",
    "Cookie",
    "set-cookie",
    "credentials",
    "signature",
    "dsn",
    "sentry_dsn",
    "session",
    "session_id",
    "sessionId",
    "tokens",
    "access_tokens",
    "auth",
    "basic_auth",
    "phone",
    "home_phone_number",
    "cardNumber",
    "card_no",
    "cvc",
    "iban",
)
FIELDS_ONLY = 6
"""The last of them are too much like ordinary words to be looked for in texts."""
SPELLINGS: dict[str, Callable[[str, str], str]] = {
    "assignment": lambda key, secret: f"call failed: {key}={secret}",
    "spaces": lambda key, secret: f"{key} = {secret} and more",
    "header": lambda key, secret: f"{key}: {secret}",
    "json": lambda key, secret: f'{{"{key}": "{secret}", "a": 1}}',
    "dense-json": lambda key, secret: f'{{"a":1,"{key}":"{secret}"}}',
    "repr": lambda key, secret: repr({key: secret}),
    "call": lambda key, secret: f"Config({key}={secret!r}, a=1)",
    "escaped": lambda key, secret: repr(f'{{"{key}": "{secret}"}}'),
    "phrase": lambda key, secret: f"{key}='correct horse, {secret}; &battery'",
}


@dataclass
class _Config:
    name: str
    password: str


class _Colour(StrEnum):
    RED = "red"


class _Unprintable:
    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS)
@given(key=st.sampled_from(SECRET_KEYS[:-FIELDS_ONLY]), secret=SECRETS)
def test_what_stands_behind_the_name_of_a_secret_is_masked(
    spelling: Callable[[str, str], str], key: str, secret: str
) -> None:
    """The name of a secret, however the value behind it is written."""
    assert secret not in redact_text(spelling(key, secret))


@given(scheme=st.sampled_from(["Bearer", "bearer", "Basic", "BEARER"]), token=TOKENS)
def test_credentials_of_headers_are_masked(scheme: str, token: str) -> None:
    """Bearer and basic credentials, alone and inside the repr of a header."""
    assert token not in redact_text(f"Authorization: {scheme} {token}")
    assert token not in redact_text(repr([(b"authorization", f"{scheme} {token}".encode())]))
    assert token not in redact_text(f"sent '{scheme} {token}' twice")


@given(
    user=st.sampled_from(["app", "", "me@corp.example"]),
    password=SECRETS,
    end=st.sampled_from(["db/d", "db", "h:1/a:1"]),
)
def test_passwords_of_urls_are_masked(user: str, password: str, end: str) -> None:
    """The password goes, host and path stay; a password may hold an @ and a slash."""
    masked = redact_text(f"cannot reach postgresql+asyncpg://{user}:{password}/{password}@{end}")

    assert password not in masked
    assert masked.endswith(f":{MASK}@{end}")


@given(token=st.text("abcXYZ0189._~+-", min_size=1, max_size=40).map(lambda text: f"Q{text}Q"))
@pytest.mark.parametrize("scheme", ["https", "http", "HTTPS", "ws", "wss"])
def test_tokens_in_front_of_a_host_are_masked(scheme: str, token: str) -> None:
    """What stands alone before the host of a web address is a token, not the name of a user."""
    assert f"cloned {scheme}://{MASK}@git.example/a twice" == redact_text(
        f"cloned {scheme}://{token}@git.example/a twice"
    )


@pytest.mark.parametrize("kind", ["PRIVATE KEY", "RSA PRIVATE KEY", "PGP PRIVATE KEY BLOCK"])
@pytest.mark.parametrize("written", [str, repr], ids=["lines", "escaped"])
def test_private_keys_are_masked(kind: str, written: Callable[[str], str]) -> None:
    """The whole block goes, its headers included, also when its end is missing."""
    body = "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,AB12\n\nMIIEvQIBADANBgkq+hk/iG9w0=\nQ2hhcHRlcg==\n"
    begin, end = f"-----BEGIN {kind}-----", f"-----END {kind}-----"

    whole, cut = redact_text(written(f"a {begin}\n{body}{end} b")), redact_text(written(f"a {begin}\n{body}"))

    for secret in ("AES-128", "MIIE", "Q2hh"):
        assert secret not in whole + cut
    assert f"a {begin}{MASK}{end} b" == whole.strip("'")


@given(key=st.sampled_from(["key", "api_key", "token", "access_token", "sig", "signature", "auth"]), secret=TOKENS)
def test_credentials_in_queries_are_masked(key: str, secret: str) -> None:
    """Only the value goes; the other parameters stay."""
    masked = redact_text(f"GET https://api.example/v1?a=1&{key}={secret}&b=2")

    assert secret not in masked
    assert masked.endswith("&b=2")


@pytest.mark.parametrize("at", ["@", "%40"])
@given(
    name=st.text("abcxyz0189._+-", min_size=1), domain=st.from_regex(r"[a-z]{1,9}(\.[a-z]{2,5}){1,3}", fullmatch=True)
)
def test_email_addresses_are_masked(at: str, name: str, domain: str) -> None:
    """An address goes as a whole, also between brackets, at the end of a sentence and in a URL."""
    assert f"from <{MASK}>, {MASK}." == redact_text(f"from <{name}{at}{domain}>, {name}{at}{domain}.")


def _check_digit(digits: str) -> str:
    """Return the last digit of a card number, worked out as on paper: from the right, every other one doubled."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        doubled = int(digit) * (2 if place % 2 == 0 else 1)
        total += doubled // 10 + doubled % 10
    return str(-total % 10)


CARDS = st.builds(
    lambda first, rest: f"{first}{rest}{_check_digit(first + rest)}",
    st.sampled_from("23456"),
    st.text("0123456789", min_size=11, max_size=17),
)


def _grouped(digits: str, gap: str) -> str:
    return gap.join(digits[start : start + 4] for start in range(0, len(digits), 4))


@given(digits=CARDS, gap=st.sampled_from(["", " ", "-", "\u00a0", "\u202f"]))
def test_card_numbers_are_masked(digits: str, gap: str) -> None:
    """13 to 19 digits whose last one fits, in groups or not, also at the end of a sentence."""
    number = _grouped(digits, gap)

    assert f"card {MASK}, again {MASK}." == redact_text(f"card {number}, again {number}.")


@given(digits=CARDS.filter(lambda digits: len(digits) >= 16))
def test_dots_divide_card_numbers_in_groups_of_four(digits: str) -> None:
    """And no other numbers: dots stand in decimal numbers, versions and dates."""
    assert f"card {MASK}." == redact_text(f"card {_grouped(digits, '.')}.")
    assert f"took 2.{digits}" == redact_text(f"took 2.{digits}")
    assert f"1.{'.'.join(digits)}.1" == redact_text(f"1.{'.'.join(digits)}.1")


@given(digits=CARDS)
def test_a_card_number_is_found_behind_an_underscore(digits: str) -> None:
    """As in names that are made of other names; an id that goes on with letters is none."""
    assert f"card_{MASK}_x" == redact_text(f"card_{digits}_x")
    assert f"gen_{digits}a" == redact_text(f"gen_{digits}a")


@given(digits=CARDS, before=st.from_regex(r"[01789]{1,3}", fullmatch=True), after=st.sampled_from(["", " 12/27 123"]))
def test_a_card_number_is_found_among_other_numbers(digits: str, before: str, after: str) -> None:
    """What stands beside it, with the same space between, does not hide it."""
    masked = redact_text(f"{before} {_grouped(digits, ' ')}{after}")

    assert digits[-4:] not in masked.replace(MASK, "").split(" ")[1:-2]
    assert MASK in masked
    assert digits[4:12] not in masked.replace(" ", "")


@given(digits=CARDS)
def test_a_number_whose_last_digit_does_not_fit_is_no_card(digits: str) -> None:
    """One digit off, or another first digit: times in nanoseconds and the like stay readable."""
    wrong = f"{digits[:-1]}{(int(digits[-1]) + 1) % 10}"
    early = f"1{digits[1:-1]}{_check_digit('1' + digits[1:-1])}"

    assert f"took {wrong}" == redact_text(f"took {wrong}")
    assert (int(early), MASK) == (redact(int(early)), redact(int(digits)))


WORDS = st.text("abcdefghijklmnopqrstuvwxyzäöüßéñABC", min_size=1, max_size=12).filter(
    lambda word: word.lower() not in {"basic", "bearer"}
)
ORDINARY = st.one_of(
    WORDS,
    st.integers(0, 10**11).map(str),
    st.floats(0, 1e6).map("{:.6f}".format),
    st.datetimes().map(lambda moment: f"{moment.isoformat()}Z"),
    st.binary(min_size=20, max_size=32).map(lambda digest: f"sha256:x{digest.hex()}"),
    st.builds("/v1/{}/{}".format, WORDS, WORDS),
    st.builds("https://{}.example/{}?page={}".format, st.text("abcdefgh", min_size=1), WORDS, st.integers(0, 99)),
    st.builds("{}_count={}".format, WORDS, st.integers(0, 10**6)),
    st.builds("({}, {})".format, WORDS, WORDS),
)


@given(st.lists(ORDINARY, max_size=12).map(" ".join))
def test_ordinary_text_survives(text: str) -> None:
    """Words, numbers, times, digests, paths and addresses without credentials stay as they are."""
    assert text == redact_text(text)


@pytest.mark.parametrize(
    "number",
    [
        *("+491701234567", "+49 170 1234567", "+1 (555) 123-4567", "+44 20 7183 8750"),
        *("%2B491701234567", "%2B49 170 1234567"),
        *("555-123-4567", "555.123.4567", "(555) 123-4567", "(555)123-4567"),
    ],
)
def test_telephone_numbers_are_masked(number: str) -> None:
    """International numbers, however they are grouped, and those of North America."""
    assert f"call {MASK}." == redact_text(f"call {number}.")


@pytest.mark.parametrize(
    "token",
    [
        "sk-abcdefgh12345678",
        "sk_live_abcdefgh12345678",
        *(f"gh{letter}_abcdefgh12345678" for letter in "pousr"),
        "github_pat_abcdefgh12345678",
        "glpat-abcdefgh12345678",
        "xoxb-12345678-abcd",
        "eyJhbGciOi.eyJzdWIiOi.c2lnbmF0dXJl",
        "AKIAIOSFODNN7EXAMPLE",
        "ASIAIOSFODNN7EXAMPLE",
        "AIzaSyA0123456789abcdefghijklmnopqrstuv",
    ],
    ids=lambda token: token[:6],
)
def test_well_known_tokens_are_masked_anywhere(token: str) -> None:
    """A token that shows by its form needs no name in front of it, and no text around it."""
    assert MASK == redact_text(token)
    assert f"used {MASK} here" == redact_text(f"used {token} here")


@pytest.mark.parametrize(
    "text",
    [
        "request served in 12.345678901234567 s",
        "gen_0190f3a7c4d81f4111111111111111",
        "max_output_tokens=100, passes=3",
        "2026-11-21T01:02:03.000100Z +0100",
        "http://127.0.0.1:8000/v1/generations",
        "the key of the map, a token of trust, no secret at all",
        "user@localhost",
        "ssh://git@host/a and postgresql://app@db/app",
        "the session of an author, a dsn, auth by tokens only",
        "-----BEGIN CERTIFICATE-----MIIE",
        "12345678-1234-4123-8123-123456789012",
        "AKIA and SAKIAIOSFODNN7EXAMPLES",
        "",
    ],
    ids=[
        "duration",
        "id",
        "counts",
        "time",
        "url",
        "words",
        "local",
        "user",
        "more-words",
        "certificate",
        "uuid",
        "no-key",
        "empty",
    ],
)
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    """Masking more than needed would make logs useless."""
    assert text == redact_text(text)


@given(st.text(max_size=300))
def test_redacting_twice_changes_nothing(text: str) -> None:
    """What is masked stays masked and nothing else is added."""
    once = redact_text(text)

    assert once == redact_text(once)


@pytest.mark.parametrize("key", SECRET_KEYS)
@pytest.mark.parametrize("value", ["x", 5, ["x"], {"a": "x"}, None, b"x"], ids=lambda value: type(value).__name__)
def test_everything_under_the_name_of_a_secret_is_masked(key: str, value: object) -> None:
    """The name alone decides, whatever the type of the value is."""
    assert MASK == redact(value, key)
    assert [{"deep": {key: MASK}}] == redact([{"deep": {key: value}}])


@given(key=st.sampled_from(SECRET_KEYS), secret=SECRETS)
def test_what_comes_in_pairs_is_masked(key: str, secret: str) -> None:
    """As headers do, in bytes too, among other pairs or as text."""
    for name, value in ((key, secret), (key.encode(), secret.encode())):
        headers = [("accept", "*/*"), (name, value)]
        assert [["accept", "*/*"], [str(name), MASK]] == redact(headers)
        assert {str(name): MASK} == redact({name: value})
        if key in SECRET_KEYS[:-FIELDS_ONLY]:
            assert f"[('accept', '*/*'), ({name!r}, {MASK})]" == redact_text(repr(headers))


def test_two_texts_are_no_pair_unless_the_first_is_a_name() -> None:
    """Nor are three, nor a list of names."""
    ordinary = [["body", "password"], ["password", "is", "missing"], [f"{'x ' * 40}password", "yes"]]

    assert ordinary == redact(ordinary)
    for text in ("one of ['user', 'token'] and more", "('token', 'user', 'id')"):
        assert text == redact_text(text)


@given(
    st.one_of(
        st.builds(lambda name: f"q={name}%40a.example", st.text("abcxyz0189._-", min_size=1)),
        st.builds(lambda digits: f"q={_grouped(digits, '%20')}", CARDS),
        st.builds(lambda digits: f"q={_grouped(digits, '+')}", CARDS),
        st.sampled_from(["q=%2B49%20170%201234567", "q=%28555%29+123-4567", "q=jane%2540a.example"]),
        st.sampled_from(
            ["%70assword=Q", "api%5Fkey=a%20Q", "key=a%26Q", "phone=0170", "q=Bearer%20Q", "a%40b.example"]
        ),
    ),
    st.integers(0, 200),
)
def test_a_query_is_masked_by_its_meaning(parameter: str, place: int) -> None:
    """However it is encoded, and wherever in the query it stands; the rest stays as it is written."""
    before, after = "a=%zz&b&=&" * place, "&c=%20x+y%E4"

    masked = redact_query(f"{before}{parameter}{after}")

    assert MASK in masked
    secret = unquote_plus(parameter.partition("=")[2])
    assert not secret or secret not in unquote_plus(unquote_plus(masked))
    if place <= 32:  # of more than 100 parameters, the last ones are masked as a whole
        assert masked.startswith(before)
        assert masked.endswith(after)


@given(st.one_of(st.text(), st.lists(ORDINARY).map(lambda values: urlencode([("q", value) for value in values]))))
def test_an_ordinary_query_survives(query: str) -> None:
    """Whatever is no query at all ends in a text too, and the same for what was masked before."""
    masked = redact_query(query)

    assert masked == redact_query(masked)
    assert query == masked or MASK in masked


def test_a_query_that_cannot_be_encoded_is_masked() -> None:
    """What a broken client sends must not cost the span."""
    assert f"\udc80=1&{MASK}" == redact_query("\udc80=1&a%40b.example")
    assert MASK in redact_query("\udc80=a%40b.example")


@pytest.mark.parametrize(
    "key", ["input_tokens", "max_output_tokens", "author", "passes", "key", "sessions", "session_count"]
)
def test_other_names_mask_nothing(key: str) -> None:
    """Counts of tokens are no secrets."""
    assert 5 == redact(5, key)


@pytest.mark.parametrize(
    ("expected", "value"),
    [
        (MASK, SecretStr("x")),
        (MASK, SecretBytes(b"x")),
        ([MASK, {"a": MASK}], ("me@example.org", {"a": SecretStr("x")})),
        ({MASK: 1}, {"me@example.org": 1}),
        ({"1": None}, {1: None}),
        ([True, 1, 0.5, None], [True, 1, 0.5, None]),
        ("nan", float("nan")),
        ("-inf", float("-inf")),
        (MASK, 4111111111111111),
        (-1, -1),
        ("<int>", 10**5000),
        ("<_Unprintable>", _Unprintable()),
        ({"<_Unprintable>": 1}, {_Unprintable(): 1}),
        ("red", _Colour.RED),
        (["b'token=********"], [b"token=abc"]),
    ],
    ids=[
        "secret-str", "secret-bytes", "nested", "key", "int-key", "plain", "nan", "inf", "card", "negative",
        "giant", "unprintable", "unprintable-key", "enum", "bytes",
    ],
)  # fmt: skip
def test_values_become_fit_for_json(expected: Any, value: object) -> None:
    """Plain values stay, everything else becomes its redacted text; numbers that are none become text."""
    assert expected == redact(value)


def test_the_text_of_an_object_is_redacted() -> None:
    """A dataclass that prints its password does not print it in a log."""
    assert "hunter2" not in redact(_Config("a", "hunter2"))
    assert "hunter2" not in redact(ValueError("password=hunter2"))


def test_endless_nesting_ends() -> None:
    """A list that holds itself, and data that is nested deeply, cost no more than a few levels."""
    loop: list[Any] = ["password=hunter2"]
    loop.append(loop)
    deep: Any = {"password": "hunter2"}
    for _ in range(50):
        deep = {"a": deep}

    assert "hunter2" not in str(redact(loop))
    assert "hunter2" not in str(redact(deep))


@pytest.fixture
def known() -> Iterator[Callable[[object], None]]:
    """Return what makes the secrets of settings known, until the end of the test."""
    yield lambda settings: know(secrets_in(settings))
    know([])


class _Inner(BaseModel):
    keys: dict[str, list[SecretStr]]
    url: AnyUrl


class _Settings(BaseModel):
    plain: str
    inner: _Inner


SETTINGS = _Settings(
    plain="ordinary",
    inner=_Inner(
        keys={"a": [SecretStr("zq-first"), SecretStr("zq-first-longer"), SecretStr("tiny")]},
        url=AnyUrl("redis://:zq-third@host/0"),
    ),
)


@pytest.mark.parametrize("secret", ["zq-first", "zq-first-longer", "zq-third"])
def test_secrets_of_the_settings_are_masked_anywhere(known: Callable[[object], None], secret: str) -> None:
    """Whatever they look like, in the middle of words and in nested values as well."""
    assert f"x{secret}x" == redact_text(f"x{secret}x")
    known(SETTINGS)

    assert f"x{MASK}x" == redact_text(f"x{secret}x")
    assert {"note": [f"{MASK}."]} == redact({"note": [f"{secret}."]})


def test_what_is_no_secret_of_the_settings_stays(known: Callable[[object], None]) -> None:
    """Nor are secrets masked that are as short as words."""
    known(SETTINGS)

    assert "an ordinary tiny host" == redact_text("an ordinary tiny host")
