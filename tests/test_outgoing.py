"""URLs of callers in a service that runs: a recording is fetched and diarized, and no URL leads inside."""

import json
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rendering import DEFAULT, Workshop, tool
from serving import Answer, Service, running, spoken
from source import NAME, Planned, Source, serving

pytestmark = pytest.mark.gate

URL = "/v1/diarizations"
MOST = 100_000
SETTINGS = {
    "MY_SERVICE_DIARIZATION__FETCH_URLS": "true",
    "MY_SERVICE_DIARIZATION__MAX_UPLOAD_BYTES": str(MOST),
    "MY_SERVICE_OUTGOING__ALLOWED_NETWORKS": '["127.0.0.1/32"]',
    "MY_SERVICE_OUTGOING__IDLE_S": "2",
    "HTTPS_PROXY": "http://127.0.0.1:9",
    "ALL_PROXY": "http://127.0.0.1:9",
}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Source]:
    """Return a source of recordings; callers of 127.0.0.1 reach it, and everybody else on the loopback could."""
    with serving(tmp_path_factory.mktemp("source")) as made:
        made.plan["/talk.wav"] = Planned(content=spoken(4))
        yield made


@pytest.fixture(scope="module")
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder where the service keeps temporary files."""
    return tmp_path_factory.mktemp("temporary")


@pytest.fixture(scope="module")
def service(
    workshop: Workshop, source: Source, temporary: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """Return a service that fetches, where one address of this machine counts as public."""
    settings = {**SETTINGS, "SSL_CERT_FILE": str(source.certificate), "TMPDIR": str(temporary)}
    with running(workshop.install(DEFAULT), tmp_path_factory.mktemp("service"), settings) as service:
        yield service


@pytest.fixture(autouse=True)
def unasked(source: Source) -> None:
    """Forget what the source was asked before."""
    source.asked.clear()


def wait_until(happened: Callable[[], bool]) -> None:
    """Return as soon as something has happened, in less time than a fetch may take."""
    limit = time.monotonic() + 30
    while not happened():
        assert time.monotonic() < limit
        time.sleep(0.02)


def asked(service: Service, url: str) -> Answer:
    """Ask for the speakers of a recording that lies elsewhere."""
    return service.post(URL, {"audio_url": url, "params": {"max_speakers": 2}})


def test_a_recording_that_lies_elsewhere_is_diarized(service: Service, source: Source) -> None:
    """Over a redirect, past the proxies of the environment; the envelope is that of an upload of the same bytes."""
    source.redirects("/moved", "/talk.wav")

    answer = asked(service, source.url("/moved", host="127.0.0.1"))
    ended = service.finished(answer.document["id"])
    uploaded = service.upload(spoken(4), {"params": '{"max_speakers": 2}'})

    assert (202, f"{URL}/{ended['id']}") == (answer.status, answer.headers["location"])
    assert ("succeeded", 4.0) == (ended["status"], ended["result"]["duration_s"])
    assert ended["result"] == service.finished(uploaded.document["id"])["result"]
    assert ended["provenance"]["fingerprint"] == uploaded.document["provenance"]["fingerprint"]
    assert ["/moved", "/talk.wav"] == source.paths
    assert {"outgoing_fetched"} == {line["event"] for line in service.log() if line["event"].startswith("outgoing_")}


REFUSED = {
    "http": "http://127.0.0.1:{port}/talk.wav",
    "user": "https://user:pass@127.0.0.1:{port}/talk.wav",
    "another address": "https://127.0.0.2:{port}/talk.wav",
    "decimal": "https://2130706433:{port}/talk.wav",
    "octal": "https://0177.0.0.1:{port}/talk.wav",
    "name of this machine": "https://localhost:{port}/talk.wav",
    "metadata": "https://169.254.169.254/latest/meta-data/",
    "metadata by IPv6": "https://[fd00:ec2::254]/latest/meta-data/",
    "metadata, mapped": "https://[::ffff:169.254.169.254]/",
    "private": "https://10.0.0.1/",
    "unknown name": "https://no-such-host.invalid/",
    "file": "file:///etc/passwd",
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_url_that_leads_inside_is_refused(service: Service, source: Source, name: str) -> None:
    """A problem that points at the field, without a word about the network; nothing was asked."""
    answer = asked(service, REFUSED[name].format(port=source.port))

    document = answer.document
    assert (422, "unsupported_source") == (answer.status, answer.code)
    assert "/audio_url" == document["errors"][0]["pointer"]
    assert "127." not in answer.body.decode()
    assert [] == source.asked


@pytest.mark.parametrize("location", [url for name, url in REFUSED.items() if name != "unknown name"])
def test_a_redirect_that_leads_inside_is_refused(service: Service, source: Source, location: str) -> None:
    """As the URL itself."""
    source.redirects("/away", location.format(port=source.port))

    answer = asked(service, source.url("/away", host="127.0.0.1"))

    assert (422, "unsupported_source", ["/away"]) == (answer.status, answer.code, source.paths)


ANSWERS = {
    "endless": (Planned(repeated=bytes(MOST)), 413, "body_too_large"),
    "large": (Planned(length=MOST + 1), 413, "body_too_large"),
    "packed": (Planned(headers={"Content-Encoding": "gzip"}, repeated=bytes(MOST)), 422, "unsupported_source"),
    "missing": (Planned(404), 422, "unsupported_source"),
    "silent": (Planned(repeated=b"", pause_s=3600), 504, "provider_timeout"),
    "broken off": (Planned(length=100, content=b"RIFF"), 502, "provider_error"),
    "no sound": (Planned(content=b"no sound"), 422, "unreadable_audio"),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_that_cannot_be_used_is_a_problem(
    service: Service, source: Source, temporary: Path, name: str
) -> None:
    """Bounded in size and time; nothing of it stays on disk."""
    source.plan["/a.wav"], status, code = ANSWERS[name]

    answer = asked(service, source.url("/a.wav", host="127.0.0.1"))

    assert (status, code, ["/a.wav"]) == (answer.status, answer.code, source.paths)
    assert [] == list(temporary.rglob("*-upload-*"))
    assert [] != list(temporary.iterdir())


def test_a_fetch_ends_with_its_caller(service: Service, source: Source, temporary: Path) -> None:
    """Whoever hangs up takes no place any longer, and leaves no file."""
    source.plan["/drip"] = Planned(repeated=b"a", pause_s=0.01)
    body = json.dumps({"audio_url": source.url("/drip", host="127.0.0.1")}).encode()
    head = f"POST {URL} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"

    def left() -> bool:
        return any(line["event"] == "request_abandoned" for line in service.log())

    with socket.create_connection(("127.0.0.1", service.port), 20) as caller:
        caller.sendall(head.encode() + body)
        wait_until(lambda: bool(source.asked))
        assert not left()
    wait_until(left)

    assert [] == list(temporary.rglob("*-upload-*"))


def test_a_certificate_is_verified(service: Service, source: Source, workshop: Workshop, tmp_path: Path) -> None:
    """Without the certificate among those that are trusted, nothing is asked."""
    with running(workshop.install(DEFAULT), tmp_path, SETTINGS) as other:
        answer = asked(other, source.url("/talk.wav", host="127.0.0.1"))

    assert (422, "unsupported_source", []) == (answer.status, answer.code, source.paths)
    assert service.process.poll() is None


def test_the_settings_show_what_is_allowed(workshop: Workshop) -> None:
    """A setting that opens the inside can be seen, and plain HTTP is refused outside of dev."""
    project = workshop.install(DEFAULT)
    shown = tool(project, "my-service", "config", "show", "--json", env=SETTINGS)
    prod = {**SETTINGS, "MY_SERVICE_ENVIRONMENT": "staging", "MY_SERVICE_OUTGOING__ALLOW_HTTP": "true"}
    checked = tool(project, "my-service", "config", "check", env=prod)

    rows = {row["variable"]: row.get("value") for row in json.loads(shown.stdout)["settings"]}
    assert ["127.0.0.1/32"] == rows["MY_SERVICE_OUTGOING__ALLOWED_NETWORKS"]
    assert 78 == checked.returncode
    assert "MY_SERVICE_OUTGOING__ALLOW_HTTP" in checked.stderr
    assert NAME not in checked.stderr
