"""Authentication of a running service: closed in prod, keys that come and go, and a rotation as the page says it."""

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from pages import Reader
from rendering import DEFAULT, Workshop
from serving import JSON, Service, command, running
from test_documents import SKIPPED
from tools import ROOT, environment

PAGE = ROOT / "docs" / "how-to" / "rotate-keys.md"
PROMPT = json.dumps({"prompt": "hello"}).encode()
LIMIT_S = 60
PROD = {
    "MY_SERVICE_ENVIRONMENT": "prod",
    "MY_SERVICE_GENAI__ALLOW_OFFLINE": "true",
    "MY_SERVICE_DIARIZATION__ALLOW_OFFLINE": "true",
    "MY_SERVICE_DIARIZATION__ALLOW_IN_PROCESS": "true",
    "MY_SERVICE_LIMITS__FAILURES__RATE_PER_S": "0",
}
"""Without the limit of wrong credentials: these tests show many, all from one address."""


@dataclass(slots=True)
class Keys:
    """A file of keys, and the commands that change it."""

    project: Path
    folder: Path
    made: dict[str, str] = field(default_factory=dict)

    @property
    def file(self) -> Path:
        """Return where they are."""
        return self.folder / "keys.toml"

    def run(self, *words: str) -> Mapping[str, Any]:
        """Run a command on the file, and return what it says."""
        done = command(self.project, self.folder, "keys", *words, "--file", str(self.file), "--json")
        assert 0 == done.returncode, done.stderr
        document: Mapping[str, Any] = json.loads(done.stdout)
        return document

    def new(self, id_: str, *words: str) -> str:
        """Make a key."""
        key = str(self.run("new", id_, *words)["key"])
        self.made[f"{id_} {len(self.made)}"] = key
        return key


def _eventually(is_so: Callable[[], bool]) -> None:
    limit = time.monotonic() + LIMIT_S
    while not is_so():
        assert time.monotonic() < limit
        time.sleep(0.05)


def _ask(service: Service, key: str | None) -> int:
    shown = {} if key is None else {"Authorization": f"Bearer {key}"}
    return service.call("POST", "/v1/generations", PROMPT, {**JSON, **shown}).status


@pytest.fixture(scope="module")
def project(workshop: Workshop) -> Path:
    """Return an installed default project."""
    return workshop.install(DEFAULT)


@pytest.fixture(scope="module")
def keys(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Keys:
    """Return a file with keys of two callers and one operator."""
    found = Keys(project, tmp_path_factory.mktemp("keys"))
    for id_, scope in (("writer", "genai"), ("listener", "diarization"), ("operator", "ops")):
        found.new(id_, "--scope", scope)
    return found


@pytest.fixture(scope="module")
def service(project: Path, keys: Keys, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Yield a service in prod that reads the file."""
    variables = {**PROD, "MY_SERVICE_AUTH__KEYS_FILE": str(keys.file)}
    with running(project, tmp_path_factory.mktemp("prod"), variables) as started:
        yield started


def test_prod_does_not_start_without_keys(project: Path, tmp_path: Path) -> None:
    """With 78 and the variable: when none is named, and when the file cannot be used."""
    without = command(project, tmp_path, "serve", "--port", "0", env=PROD)
    missing = {**PROD, "MY_SERVICE_AUTH__KEYS_FILE": "nowhere.toml"}
    unusable = command(project, tmp_path, "serve", "--port", "0", env=missing)

    for done, reason in ((without, "expected a file of API keys in prod"), (unusable, "No such file or directory")):
        assert 78 == done.returncode
        assert "MY_SERVICE_AUTH__KEYS_FILE" in done.stderr
        assert reason in done.stderr


def test_prod_is_closed(service: Service) -> None:
    """Strangers learn that the service lives and whether it is ready, and not even which paths there are."""
    for path in ("/livez", "/readyz"):
        answer = service.call("GET", path)
        assert (200, {"status": "ok"}) == (answer.status, answer.document)
    strangers = [{}, {"Authorization": "Bearer osk_wrong"}, {"X-API-Key": "osk_wrong"}, {"Authorization": "Basic eA=="}]
    closed = (
        "/info",
        "/metrics",
        "/v1/generations",
        "/v1/diarizations/dia_1",
        "/v1/nowhere",
        "/",
        "/livez/",
        "//livez",
    )
    for path in closed:
        for headers in strangers:
            answer = service.call("GET", path, headers=headers)
            assert (401, "unauthenticated") == (answer.status, answer.code), path
            assert answer.headers["www-authenticate"].startswith('Bearer realm="my-service"')
    assert 401 == _ask(service, None)
    assert 404 == service.call("POST", "/v1/diarizations/webhooks/nobody", b"{}", JSON).status


def test_a_key_opens_what_its_scopes_say(service: Service, keys: Keys) -> None:
    """In either header; everything else is 403 for a caller who is known, and what is nowhere is 404."""
    writer, listener, operator = (keys.made[name] for name in ("writer 0", "listener 1", "operator 2"))

    assert [200, 403, 403] == [_ask(service, key) for key in (writer, listener, operator)]
    assert 200 == service.call("POST", "/v1/generations", PROMPT, {**JSON, "X-API-Key": writer}).status
    assert 404 == service.call("GET", "/v1/diarizations/dia_1", headers={"X-API-Key": listener}).status
    for path in ("/info", "/metrics", "/readyz"):
        assert 200 == service.call("GET", path, headers={"X-API-Key": operator}).status
    assert "checks" in service.call("GET", "/readyz", headers={"X-API-Key": operator}).document
    assert 404 == service.call("GET", "/v1/nowhere", headers={"X-API-Key": writer}).status
    answer = service.call("GET", "/info", headers={"X-API-Key": writer})
    assert (403, "forbidden") == (answer.status, answer.code)
    assert 'scope="ops"' in answer.headers["www-authenticate"]


def test_keys_come_and_go_while_the_service_runs(service: Service, keys: Keys) -> None:
    """A new key is taken up; one that was removed or has ended is refused; a broken file changes nothing."""
    key = keys.new("visitor", "--scope", "genai")
    _eventually(lambda: _ask(service, key) == 200)
    text = keys.file.read_text(encoding="utf-8")
    keys.file.write_text(text + "broken", encoding="utf-8")
    _eventually(lambda: any(_ask(service, key) and line["event"] == "keys_unusable" for line in service.log()))
    assert 200 == _ask(service, key)

    *others, last = text.strip().split("\n\n")
    ended = f"{last}\nnot_after = 2020-01-01T00:00:00Z\n"
    keys.file.write_text("\n\n".join([*others, ended]), encoding="utf-8")
    _eventually(lambda: _ask(service, key) == 401)
    assert "key_expired" in {line["event"] for line in service.log()}
    keys.run("remove", "visitor")
    _eventually(lambda: "visitor" not in keys.file.read_text(encoding="utf-8") and _ask(service, key) == 401)
    assert 1 == [line["event"] for line in service.log()].count("keys_unusable")


def test_no_key_is_in_the_log(service: Service, keys: Keys) -> None:
    """Wherever a caller put it: in the right place, in the path, in a query, in a body, or in an id."""
    key = keys.made["writer 0"]
    for path in (f"/v1/{key}", f"/v1/generations?key={key}"):
        service.call("GET", path, headers={"X-API-Key": key, "X-Request-ID": key})
    service.call("POST", "/v1/generations", json.dumps({key: key}).encode(), {**JSON, "Authorization": key})
    service.call("POST", "/v1/generations", b"{", {**JSON, "Authorization": f"Bearer {key} {key}"})

    log = service.log_file.read_text(encoding="utf-8")
    assert "request_served" in log
    for made in keys.made.values():
        assert made.removeprefix("osk_") not in log


def test_operators_have_a_listener_of_their_own(project: Path, keys: Keys, tmp_path: Path) -> None:
    """Without credentials there, and nothing of it on the port of callers; an address that is taken is told."""
    variables = {**PROD, "MY_SERVICE_AUTH__KEYS_FILE": str(keys.file), "MY_SERVICE_OPS__PORT": "0"}
    with running(project, tmp_path, variables) as service:
        (started,) = [line for line in service.log() if line["event"] == "server_started"]
        operations = urlsplit(started["operations_url"])
        found = {path: _get(operations.port, path) for path in ("/livez", "/readyz", "/info", "/metrics")}
        assert [200, 200, 200, 200] == [status for status, _ in found.values()]
        assert b"checks" in found["/readyz"][1]
        operator = {"X-API-Key": keys.made["operator 2"]}
        for path in ("/info", "/metrics"):
            assert [401, 404] == [service.call("GET", path, headers=shown).status for shown in ({}, operator)]
        assert {"status": "ok"} == service.call("GET", "/readyz").document
        assert [404, 200] == [_get(operations.port, "/v1/generations")[0], _ask(service, keys.made["writer 0"])]
        assert (
            b'http_requests_total{method="POST",route="/v1/generations",status="200"} 1.0'
            in _get(operations.port, "/metrics")[1]
        )
        taken = {**variables, "MY_SERVICE_OPS__PORT": str(operations.port)}
        done = command(project, tmp_path, "serve", "--port", "0", env=taken)
        assert 1 == done.returncode
        assert f"127.0.0.1:{operations.port} cannot be bound (Address already in use)" in done.stderr
        assert 0 == service.stop()


def _get(port: int | None, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT_S)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_keys_are_rotated_without_a_failed_call(workshop: Workshop) -> None:
    """Somebody does what the page says while a caller calls: old and new are valid at once, then the old one is not."""
    project = workshop.install(DEFAULT, variant="rotate-keys")
    variables = {"MY_SERVICE_HTTP__PORT": "{port}", "PATH": environment()["PATH"]}
    person = Reader(project, variables, SKIPPED)
    beginning, rest = PAGE.read_text(encoding="utf-8").split("\n## When is it time?")
    try:
        person.follow(beginning)
        (server,) = person.servers
        caller = _Caller(person.port, project / "caller.key")
        first = caller.key.read_text(encoding="utf-8").strip()
        with caller:
            person.follow("## When is it time?" + rest)
            second = caller.key.read_text(encoding="utf-8").strip()
            _eventually(lambda: caller.ask(first) == 401)
            seen = len(caller.statuses)
            _eventually(lambda: len(caller.statuses) >= seen + 5)
        assert first != second
        assert {200} == set(caller.statuses)
        assert server.poll() is None
        assert 1 == len(person.servers)
    finally:
        person.leave()


class _Caller:
    """Calls all the time, each time with the key that it finds in its file."""

    def __init__(self, port: int, key: Path) -> None:
        self.key = key
        self.statuses: list[int] = []
        self._port = port
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._call, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join(LIMIT_S)

    def ask(self, key: str) -> int:
        """Make one call."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=LIMIT_S)
        try:
            connection.request("POST", "/v1/generations", PROMPT, {**JSON, "Authorization": f"Bearer {key}"})
            return connection.getresponse().status
        finally:
            connection.close()

    def _call(self) -> None:
        while not self._done.wait(0.05):
            self.statuses.append(self.ask(self.key.read_text(encoding="utf-8").strip()))
