"""URLs that callers give: only plain ones with https, whose host is written as people write it."""

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from object_service.chassis.outgoing.failures import RefusedError
from object_service.chassis.outgoing.urls import checked

REFUSED = {
    "http": "http://source.example/a",
    "other scheme": "file:///etc/passwd",
    "gopher": "gopher://source.example/",
    "no scheme": "//source.example/a",
    "no host": "https:///a",
    "empty": "",
    "user": "https://user@source.example/a",
    "password": "https://user:pass@source.example/a",
    "user that looks like a host": "https://source.example@127.0.0.1/",
    "user behind a backslash": "https://source.example\\@127.0.0.1/",
    "decimal": "https://2130706433/",
    "hexadecimal": "https://0x7f000001/",
    "hexadecimal parts": "https://0x7f.0x0.0x0.0x1/",
    "octal": "https://0177.0.0.1/",
    "short": "https://127.1/",
    "dot at the end": "https://127.0.0.1./",
    "wide digits": "https://１２７.０.０.１/",  # noqa: RUF001 - these are the point
    "escaped": "https://%31%32%37.0.0.1/",
    "blank": "https://source example/",
    "line": "https://source.example/\r\nHost: inside",
    "port zero": "https://source.example:0/",
    "port too high": "https://source.example:65536/",
    "port no number": "https://source.example:https/",
    "zone": "https://[fe80::1%25eth0]/",
    "long": f"https://source.example/{'a' * 8192}",
    "long name": f"https://{'a' * 64}.example/",
}
RELATIVE = {"no scheme", "no host", "empty"}
TAKEN = {
    "name": "https://source.example/a?key=b#c",
    "port": "https://source.example:8443/",
    "address": "https://93.184.216.34/a",
    "IPv6": "https://[2606:4700::1111]/a",
    "capitals": "HTTPS://Source.Example/",
    "other letters": "https://bücher.example/",
    "number in front": "https://1.example/",
    "dot at the end": "https://source.example./",
}


@pytest.mark.parametrize("url", REFUSED.values(), ids=REFUSED)
def test_an_odd_url_is_refused(url: str) -> None:
    """Before anything is asked about its host, and in words that do not repeat it."""
    with pytest.raises(RefusedError) as refused:
        checked(url)
    assert "unsupported_source" == refused.value.code
    assert "127" not in str(refused.value)


@pytest.mark.parametrize("url", TAKEN.values(), ids=TAKEN)
def test_a_plain_url_is_taken(url: str) -> None:
    """With any port, and with an address in its usual form."""
    assert "https" == checked(url).scheme


def test_http_is_taken_where_it_is_allowed() -> None:
    """Nothing else is: the setting says http."""
    assert "http" == checked("http://source.example/a", allow_http=True).scheme
    with pytest.raises(RefusedError, match="https"):
        checked("ftp://source.example/a", allow_http=True)


@pytest.mark.parametrize(
    ("location", "leads_to"),
    [
        pytest.param("/b", "https://source.example/b", id="path"),
        pytest.param("b?c=d", "https://source.example/a/b?c=d", id="relative"),
        pytest.param("//other.example/b", "https://other.example/b", id="host"),
        pytest.param("https://other.example/", "https://other.example/", id="whole"),
    ],
)
def test_a_redirect_is_read_from_where_it_came(location: str, leads_to: str) -> None:
    """Whole or relative."""
    assert leads_to == str(checked(location, base=httpx2.URL("https://source.example/a/")))


@pytest.mark.parametrize("name", sorted({*REFUSED} - RELATIVE))
def test_a_redirect_leads_nowhere_else(name: str) -> None:
    """What is refused at first is refused later."""
    with pytest.raises(RefusedError):
        checked(REFUSED[name], base=httpx2.URL("https://source.example/a/"))


@given(st.text(max_size=60).map("https://{}".format) | st.text(max_size=60))
def test_any_text_is_taken_or_refused(text: str) -> None:
    """Nothing else happens, and what is taken has a host, without a user."""
    try:
        url = checked(text)
    except RefusedError:
        return
    assert url.host
    assert not url.userinfo
