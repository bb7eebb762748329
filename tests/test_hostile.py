"""Hostile input: every answer is a refusal of ours, nothing is left behind, and the service goes on."""

import json
import socket
import struct
import time
from collections.abc import Iterator

import pytest

from rendering import DEFAULT, Workshop
from serving import BOUNDARY, JSON, MULTIPART, Service, multipart, running, spoken, wav_header

pytestmark = pytest.mark.gate

PLANTED = "planted-secret-4711"
MAX_UPLOAD_BYTES = 1024 * 1024
ENVIRONMENT = {
    "MY_SERVICE_DIARIZATION__MAX_UPLOAD_BYTES": str(MAX_UPLOAD_BYTES),
    "MY_SERVICE_DIARIZATION__MAX_DURATION_S": "10",
    "MY_SERVICE_PROVIDERS__ACME__KIND": "openai_compatible",
    "MY_SERVICE_PROVIDERS__ACME__BASE_URL": f"http://user:{PLANTED}@127.0.0.1:9/v1",
    "MY_SERVICE_PROVIDERS__ACME__API_KEY": PLANTED,
    "MY_SERVICE_PROVIDERS__ACME__MODEL": "acme-1",
}
GOOD = spoken(4)
CODES = {"malformed_json", "invalid_request", "unknown_field", "unknown_provider", "body_too_large"}


@pytest.fixture(scope="module")
def running_service(workshop: Workshop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Return a service with small limits, a secret, and a folder of its own for temporary files."""
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "tmp").mkdir()
    with running(workshop.install(DEFAULT), folder, {**ENVIRONMENT, "TMPDIR": str(folder / "tmp")}) as service:
        yield service


@pytest.fixture
def service(running_service: Service) -> Iterator[Service]:
    """Return the service; afterwards it still works, its log is clean and no upload is left."""
    yield running_service
    answer = running_service.post("/v1/generations", {"prompt": "still there"})
    assert (200, "still there") == (answer.status, answer.document["result"]["text"])
    assert [] == [line for line in running_service.log() if line["level"] == "error" or "exception" in line]
    text = running_service.log_file.read_text(encoding="utf-8")
    assert "Traceback" not in text
    assert PLANTED not in text
    assert [] == left_behind(running_service)


def left_behind(service: Service) -> list[str]:
    """Return the temporary files that are still there a moment after everything has ended."""
    limit = time.monotonic() + 20
    folder = service.folder / "tmp"
    while (found := [str(path) for path in folder.rglob("*") if path.is_file()]) and time.monotonic() < limit:
        time.sleep(0.05)
    return found


RECORDINGS = {
    "empty": b"",
    "no WAV": b"GIF89a" + bytes(100),
    "text": PLANTED.encode() * 10,
    "cut in the header": GOOD[:20],
    "only a header": wav_header(0),
    "cut in the samples": GOOD[:-100],
    "lying size": wav_header(4_000_000_000) + bytes(100),
    "open size": wav_header(0xFFFFFFFF) + bytes(100),
    "not PCM": GOOD[:20] + b"\x03\x00" + GOOD[22:],
    "no channels": GOOD[:22] + b"\x00\x00" + GOOD[24:],
    "no rate": GOOD[:24] + bytes(4) + GOOD[28:],
    "fmt chunk without end": b"RIFF\xff\xff\xff\xffWAVEfmt \xff\xff\xff\xff",
    "a thousand chunks": b"RIFF\xff\xff\xff\xffWAVE" + b"junk\x00\x00\x00\x00" * 1000,
    "longer than 10 s": spoken(12),
}


@pytest.mark.parametrize("case", RECORDINGS)
def test_unreadable_recording_is_refused(service: Service, case: str) -> None:
    """A recording that cannot be read, lies about itself or is too long is refused at once."""
    answer = service.upload(RECORDINGS[case])
    assert (422, "unreadable_audio") == (answer.status, answer.code)
    assert "/file" == answer.document["errors"][0]["pointer"]
    assert ("energy", 1) == (answer.document["provenance"]["provider"], answer.document["provenance"]["attempts"])
    assert str(service.folder) not in answer.body.decode()


def form(*parts: tuple[str, bytes]) -> bytes:
    """Return a form of parts, each with the rest of its disposition."""
    heads = [f"--{BOUNDARY}\r\nContent-Disposition: form-data; {rest}\r\n\r\n".encode() + body for rest, body in parts]
    return b"\r\n".join([*heads, f"--{BOUNDARY}--\r\n".encode()])


FILE = ('name="file"; filename="a.wav"', GOOD)
FORMS = {
    "no boundary": (multipart(GOOD), {"Content-Type": "multipart/form-data"}, {400, 422}),
    "another boundary": (multipart(GOOD), {"Content-Type": "multipart/form-data; boundary=other"}, {400, 422}),
    "no part": (f"--{BOUNDARY}--\r\n".encode(), MULTIPART, {422}),
    "no file": (form(('name="provider"', b"energy")), MULTIPART, {422}),
    "text as file": (form(('name="file"', b"x")), MULTIPART, {422}),
    "two files": (form(FILE, FILE), MULTIPART, {400, 422}),
    "two providers": (form(FILE, *[('name="provider"', b"energy")] * 2), MULTIPART, {422}),
    "long provider": (form(FILE, ('name="provider"', b"e" * 900_000)), MULTIPART, {422}),
    "many fields": (form(*[('name="provider"', b"energy")] * 50, FILE), MULTIPART, {400, 422}),
    "unknown field": (form(FILE, ('name="secret"', PLANTED.encode())), MULTIPART, {422}),
    "params not JSON": (form(FILE, ('name="params"', b"{")), MULTIPART, {400, 422}),
    "deep params": (form(FILE, ('name="params"', b"[" * 100_000)), MULTIPART, {400, 422}),
    "params contradict": (form(FILE, ('name="params"', b'{"min_speakers": 3, "max_speakers": 2}')), MULTIPART, {422}),
    "huge params": (form(FILE, ('name="params"', b"9" * 900_000)), MULTIPART, {400, 413, 422}),
    "broken provider": (form(FILE, ('name="provider"', b"\xff\xfe\x00")), MULTIPART, {400, 422}),
    "huge head": (form(('name="file"; filename="' + "a" * 900_000 + '"', GOOD)), MULTIPART, {400, 413, 422}),
    "long name": (form(('name="file"; filename="' + "a" * 10_000 + '"', GOOD)), MULTIPART, {400, 422}),
    "cut": (multipart(GOOD)[:-60], MULTIPART, {400, 422}),
    "not a form": (b"\x00" * 1000, MULTIPART, {400, 422}),
    "over the limit": (multipart(GOOD + bytes(MAX_UPLOAD_BYTES)), MULTIPART, {413}),
    "far over the limit": (multipart(bytes(8 * MAX_UPLOAD_BYTES)), MULTIPART, {413}),
}


@pytest.mark.parametrize("case", FORMS)
def test_bad_form_is_refused(service: Service, case: str) -> None:
    """A form that is broken, incomplete or too large is a problem of the caller."""
    body, headers, statuses = FORMS[case]
    answer = service.call("POST", "/v1/diarizations", body, headers)
    assert answer.status in statuses, answer.body
    assert answer.code in CODES
    assert len(answer.body) < 2_000


@pytest.mark.parametrize("name", ["../../planted.wav", "/etc/planted.wav", "a\\b.wav", "x" * 500], ids=ascii)
def test_name_of_an_upload_is_never_a_path(service: Service, name: str) -> None:
    """Whatever a client calls its file, the service keeps it under a name of its own, and only while it works."""
    answer = service.call("POST", "/v1/diarizations", form((f'name="file"; filename="{name}"', GOOD)), MULTIPART)
    assert 202 == answer.status
    assert "succeeded" == service.finished(answer.document["id"])["status"]
    assert [] == list(service.folder.rglob("*planted*"))


DOCUMENTS = {
    "deep": b"[" * 100_000,
    "deep and closed": b'{"prompt": ' + b"[" * 20_000 + b"]" * 20_000 + b"}",
    "NaN": b'{"prompt": "a", "params": {"temperature": NaN}}',
    "Infinity": b'{"prompt": "a", "params": {"temperature": Infinity}}',
    "huge integer": b'{"prompt": "a", "params": {"max_output_tokens": ' + b"9" * 20_000 + b"}}",
    "huge exponent": b'{"prompt": "a", "params": {"temperature": 1e999999}}',
    "lone surrogate in provider": b'{"prompt": "a", "provider": "\\ud800"}',
    "lone surrogate as key": b'{"prompt": "a", "\\udfff": 1}',
    "long key": b'{"prompt": "a", "' + b"k" * 100_000 + b'": 1}',
    "many keys": json.dumps({"prompt": "a", **{f"k{i}": 1 for i in range(20_000)}}).encode(),
    "text after": b'{"prompt": "a"} {"prompt": "b"}',
    "a number": b"1",
    "null": b"null",
}


@pytest.mark.parametrize("case", DOCUMENTS)
def test_hostile_document_is_refused(service: Service, case: str) -> None:
    """JSON that is broken, too deep or holds impossible values is refused, in an answer that stays small."""
    for path in ("/v1/generations", "/v1/generations/batch", "/v1/diarizations"):
        answer = service.call("POST", path, DOCUMENTS[case], JSON)
        assert answer.status in (400, 413, 422), (path, answer.status, answer.body[:500])
        assert answer.code in {
            "malformed_json",
            "invalid_request",
            "unknown_field",
            "unknown_provider",
            "body_too_large",
        }
        assert len(answer.body) < 10_000


TEXTS = [
    "nul \\u0000 nul",
    "lone \\ud800 surrogate",
    "\\u202e right to left",
    "line\\r\\nX-Injected: 1",
    "\\ud83d\\ude00",
]


@pytest.mark.parametrize("text", TEXTS, ids=ascii)
def test_odd_prompt_is_no_failure(service: Service, text: str) -> None:
    """Any text is answered or refused; it never becomes a header or a failure."""
    answer = service.call("POST", "/v1/generations", f'{{"prompt": "{text}"}}'.encode(), JSON)
    assert answer.status in (200, 400, 422)
    assert "x-injected" not in answer.headers
    if answer.status == 200:
        assert json.loads(f'"{text}"') == answer.document["result"]["text"]


BODY = b'{"prompt": "a"}'
GET = b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
POST = b"POST /v1/generations HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nConnection: close\r\n"
REQUESTS = {
    "nothing": b"\r\n\r\n",
    "binary": bytes(range(256)) * 10,
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200) + b"\r\n\r\n",
    "no host": b"GET /livez HTTP/1.1\r\nConnection: close\r\n\r\n",
    "two lengths": POST + b"Content-Length: 15\r\nContent-Length: 3\r\n\r\n" + BODY,
    "negative length": POST + b"Content-Length: -1\r\n\r\n" + BODY,
    "huge length": POST + b"Content-Length: 99999999999999999999\r\n\r\n" + BODY,
    "length and chunks": POST + b"Content-Length: 15\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "bad chunk": POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n" + BODY,
    "folded header": POST + b"X-Request-ID: a\r\n b\r\nContent-Length: 15\r\n\r\n" + BODY,
    "bare return": POST + b"X-Request-ID: a\rX-Injected: 1\r\nContent-Length: 15\r\n\r\n" + BODY,
    "NUL in a header": POST + b"X-Request-ID: a\x00b\r\nContent-Length: 15\r\n\r\n" + BODY,
    "two ids": POST + b"X-Request-ID: a\r\nX-Request-ID: b\r\nContent-Length: 15\r\n\r\n" + BODY,
    "two deadlines": POST + b"X-Request-Timeout: 1\r\nX-Request-Timeout: 2\r\nContent-Length: 15\r\n\r\n" + BODY,
    "two types": POST + b"Content-Type: text/plain\r\nContent-Length: 15\r\n\r\n" + BODY,
    "many headers": POST + b"".join(b"X-%d: 1\r\n" % i for i in range(5000)) + b"Content-Length: 15\r\n\r\n" + BODY,
    "long path": b"GET /" + b"a" * 100_000 + GET + b"\r\n",
    "odd path": b"GET /%00%0d%0aX-Injected:%201/..%2f..%2fetc HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    "not UTF-8 path": b"GET /v1/diarizations/%ff%fe HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    "odd query": b"GET /info?%ff=%00&api_key="
    + PLANTED.encode()
    + b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    "upgrade": b"GET /info HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade, close\r\n\r\n",
    "credentials": b"GET /info HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer "
    + PLANTED.encode()
    + b"\r\nConnection: close\r\n\r\n",
}


@pytest.mark.parametrize("case", REQUESTS)
def test_hostile_request_is_no_failure(service: Service, case: str) -> None:
    """Whatever comes over the line is answered with less than 500 or cut off, without an injected header."""
    received = service.raw(REQUESTS[case])
    head = received.partition(b"\r\n\r\n")[0].lower()
    assert not received or 200 <= int(received.split()[1]) < 500
    assert b"\nx-injected" not in head
    assert PLANTED.encode() not in received or b"api_key" in REQUESTS[case]


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
def test_upload_that_breaks_off_leaves_nothing(service: Service, reset: bool) -> None:  # noqa: FBT001 - a case
    """A client that disappears in the middle of an upload leaves no file and no error, only a line that says so."""
    before = abandoned(service)
    for _ in range(5):
        with socket.create_connection((service.host, service.port)) as connection:
            connection.sendall(upload_head(len(GOOD)))
            connection.sendall(multipart(GOOD)[: len(GOOD) // 2])
            if reset:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    limit = time.monotonic() + 20
    while abandoned(service) < before + 5 and time.monotonic() < limit:
        time.sleep(0.05)
    assert before + 5 == abandoned(service)


def abandoned(service: Service) -> int:
    """Return how many requests the service had to give up."""
    return len([line for line in service.log() if line["event"] == "request_abandoned"])


def upload_head(size: int) -> bytes:
    """Return the head of an upload of so many bytes."""
    head = f"POST /v1/diarizations HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\nConnection: close\r\n"
    return f"{head}Content-Type: {MULTIPART['Content-Type']}\r\n\r\n".encode()


def test_slow_uploads_do_not_keep_others_waiting(service: Service) -> None:
    """While twenty clients dawdle, another one is served as if alone."""
    slow = [socket.create_connection((service.host, service.port)) for _ in range(20)]
    try:
        for connection in slow:
            connection.sendall(upload_head(len(multipart(GOOD))))
            connection.sendall(multipart(GOOD)[:100])
        begun = time.monotonic()
        assert 200 == service.post("/v1/generations", {"prompt": "hello"}).status
        assert time.monotonic() - begun < 2
        slow[0].sendall(multipart(GOOD)[100:])
        assert b"HTTP/1.1 202" in slow[0].recv(65536)
    finally:
        for connection in slow:
            connection.close()
