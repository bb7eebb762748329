"""A hostile session: secrets come from everywhere, and none of them is in anything that the service lets out."""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from prometheus_client.parser import text_string_to_metric_families

from collector import Collector, collector
from mishaps_module import MODULE
from rendering import FULLEST, Workshop, install
from secrets_planted import Planted
from serving import JSON, MULTIPART, Answer, Service, command, multipart, running

pytestmark = pytest.mark.gate

P = "MY_SERVICE_PROVIDERS__"
KINDS = ("raise", "cause", "group", "task", "forgotten", "thread", "log", "span")
MOST_SERIES = 600


@contextmanager
def indiscreet(planted: Planted) -> Iterator[str]:
    """Run a vendor that answers each request with another failure, full of secrets, and yield its URL."""
    bodies = [
        (401, "text/plain", planted.word("vendor's text", "invalid key api_key={}")),
        (400, "application/json", json.dumps({"error": {"message": planted.word("vendor's message", "Bearer {}")}})),
        (500, "text/html", planted.word("vendor's page", "<h1>postgres://u:{}@db/app</h1>")),
        (200, "application/json", planted.word("vendor's broken JSON", '{{"choices": "sk-{}')),
        (403, "application/json", json.dumps({"error": {"code": planted.word("vendor's code", "sk-{}")}})),
    ]
    cookie, location = planted.word("vendor's cookie", "session={}"), planted.word("vendor's redirect", "/?token={}")
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            asked.append(self.path)
            status, kind, text = bodies[len(asked) % len(bodies)]
            content = text.encode()
            self.send_response(302 if len(asked) == 1 else status)
            for name, value in {"Content-Type": kind, "Set-Cookie": cookie, "Location": location}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Write nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
        assert len(asked) > len(bodies)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def stated(folder: Path, planted: Planted, vendor: str, endpoint: str) -> dict[str, str]:
    """Return an environment with secrets in variables, and in every file that settings are read from."""
    files = {
        ".env.local": planted.word(".env.local", f"{P}LOCAL__API_KEY={{}}\n{P}LOCAL__KIND=openai_compatible\n")
        + f"{P}LOCAL__BASE_URL=http://{vendor}/v1\n{P}LOCAL__MODEL=one\n",
        "config.toml": planted.word("config file", '[providers.filed]\nkind = "openai_compatible"\napi_key = "{}"\n')
        + f'base_url = "http://{vendor}/v1"\nmodel = "one"\n',
        f"secrets/{P}OUTSIDE__API_KEY": planted.word("secrets directory"),
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "tmp").mkdir()
    return {
        "TMPDIR": str(folder / "tmp"),
        "MY_SERVICE_CONFIG_FILE": str(folder / "config.toml"),
        "MY_SERVICE_SECRETS_DIR": str(folder / "secrets"),
        "MY_SERVICE_DATABASE__URL": f"sqlite:///{folder / 'data.db'}",
        "MY_SERVICE_REDIS__URL": planted.word("Redis URL", "redis://user:{}@127.0.0.1:9/0"),
        "MY_SERVICE_JOBS__WEBHOOK__URL": planted.word("webhook URL", "http://127.0.0.1:9/hook?token={}"),
        "MY_SERVICE_JOBS__WEBHOOK__SECRET": planted.webhook("webhook secret"),
        f"{P}ACME__KIND": "openai_compatible",
        f"{P}ACME__BASE_URL": planted.word("provider URL", f"http://user:{{}}@{vendor}/v1"),
        f"{P}ACME__API_KEY": planted.word("provider key"),
        f"{P}ACME__MODEL": "one",
        f"{P}ACME__RESILIENCE__BREAKER__SCOPE": "redis",
        f"{P}OUTSIDE__KIND": "pyannote",
        f"{P}OUTSIDE__BASE_URL": f"http://{vendor}",
        f"{P}OUTSIDE__WEBHOOK_URL": "https://a.example/v1/diarizations/webhooks/outside",
        f"{P}OUTSIDE__WEBHOOK_SECRET": planted.word("provider's webhook secret"),
        "MY_SERVICE_UNKNOWN__API_KEY": planted.word("unknown variable"),
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
        "OTEL_EXPORTER_OTLP_HEADERS": planted.word("exporter header", "x-api-key={}"),
        "OTEL_RESOURCE_ATTRIBUTES": planted.word("resource attribute", "deployment.token={}"),
    }


@dataclass(slots=True)
class Session:
    """What somebody does to a service, and what they get to see of it."""

    service: Service
    planted: Planted
    seen: list[Answer] = field(default_factory=list)

    def call(self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        """Make a request; what is answered is captured, unless it succeeded: then it is the caller's own content."""
        answer = self.service.call(method, path, body or None, headers)
        self.seen += [answer] if answer.status >= 300 else []

    def everything(self) -> None:
        """Plant secrets in every part of a request."""
        self.headers()
        self.paths()
        self.bodies()
        self.mishaps()
        for provider in ("acme", "local", "filed"):
            for _ in range(6):
                self.call("POST", "/v1/generations", json.dumps({"prompt": "x", "provider": provider}).encode(), JSON)
        recording = multipart(b"RIFF", {"provider": "outside"})
        self.call("POST", "/v1/diarizations", recording, MULTIPART)

    def headers(self) -> None:
        """Every header that is read, and those that servers and libraries like to log."""
        planted = self.planted
        sent = {
            "Authorization": planted.word("bearer", "Bearer {}"),
            "Proxy-Authorization": f"Basic {planted.encoded('basic')}",
            "Cookie": planted.word("cookie", "session={}; a=b"),
            "X-API-Key": planted.word("X-API-Key"),
            "User-Agent": planted.word("user agent", "curl password={}"),
            "Referer": planted.word("referer", "https://a.example/?access_token={}"),
            "Forwarded": planted.word("forwarded", 'for="{}@a.example"'),
            "Idempotency-Key": planted.word("idempotency key", "sk_live_{}"),
            "traceparent": planted.word("traceparent", "00-{}-01"),
            "tracestate": planted.word("tracestate", "a=sk-{}"),
            "baggage": planted.word("baggage", "api_key={}"),
            "Origin": planted.word("origin", "https://user:{}@a.example"),
            "Content-Type": planted.word("content type", "text/plain; token={}"),
        }
        for name, value in sent.items():
            for method, path in (("GET", "/info"), ("POST", "/v1/generations"), ("GET", "/v1/none")):
                self.call(method, path, b"{}" if method == "POST" else b"", {**JSON, name: value})
        state = {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01", "tracestate": planted.word("followed state", "a=sk-{}")}
        self.call("GET", "/v1/none", headers=state)
        for name in ("X-Request-Timeout", "Idempotency-Key", "If-Match"):
            self.call("GET", "/v1/none", headers={name: planted.word(f"bad {name}", "password= {}")})
        # An id is echoed to whoever sent it, and masked everywhere else.
        for name, id_ in (("token", planted.word("id as token", "sk-{}")), ("card", planted.card("id as card"))):
            answer = self.service.call("GET", "/v1/none", headers={"X-Request-ID": id_})
            assert id_ == answer.headers["x-request-id"], name

    def paths(self) -> None:
        """Paths and queries, on routes that exist and on others."""
        planted = self.planted
        for path in (
            planted.word("path", "/v1/sk-{}"),
            planted.word("path of an id", "/v1/diarizations/eyJhbGciOi.eyJzdWIi{}.c2ln"),
            planted.word("e-mail in a path", "/v1/generations/{}@a.example"),
            planted.word("method path", "/v1/recordings/password={}"),
            f"/v1/recordings/{planted.card('card in a path')}",
            planted.word("query of no route", "/none?api_key={}"),
            planted.word("query of a route", "/info?token={}"),
            planted.word("encoded e-mail in a query", "/info?q={}%40a.example"),
            f"/info?q={planted.groups('groups in a query', '%20')}",
            f"/info?q={planted.phone('encoded phone in a query').replace('+', '%2B')}",
            planted.word("name of a parameter", "/info?sk-{}=1"),
            planted.word("filter", "/v1/recordings?title=a&access_token={}"),
            planted.word("cursor", "/v1/recordings?after=eyJhbGciOi.eyJzdWIi{}.c2ln"),
            planted.word("sort", "/v1/recordings?sort=ghp_{}"),
            planted.word("job", "/v1/jobs/glpat-{}"),
            f"/v1/recordings?title={planted.phone('phone in a query')}&nothing=1",
        ):
            for method in ("GET", "DELETE", "POST"):
                self.call(method, path, b"{}" if method == "POST" else b"", JSON)

    def bodies(self) -> None:
        """Documents that are broken, wrong or unreadable, and files."""
        planted = self.planted
        documents = (
            planted.word("broken JSON", '{{"password": "{}"'),
            planted.word("wrong type", '{{"prompt": {{"api_key": "{}"}}}}'),
            planted.word("unknown field", '{{"prompt": "a", "client_secret": "{}"}}'),
            planted.word("name of a field", '{{"prompt": "a", "sk-{}": 1}}'),
            planted.word("provider's name", '{{"prompt": "a", "provider": "sk-{}"}}'),
            planted.word("parameter", '{{"prompt": "a", "params": {{"temperature": "Bearer {}"}}}}'),
            planted.word("policy", '{{"prompt": "a", "policy": {{"profile": "xoxb-{}"}}}}'),
            json.dumps({"prompt": 1, "key": planted.key("private key")}),
            json.dumps({"prompt": ["a"], "card": planted.card("card in a body")}),
            json.dumps({"prompt": None, "phone": planted.phone("phone in a body")}),
            planted.token("bare token"),
            planted.word("title", '{{"title": ["postgres://a:{}@db"], "duration_s": "x"}}'),
        )
        for text in documents:
            for path in ("/v1/generations", "/v1/generations/batch", "/v1/generations/stream", "/v1/diarizations"):
                self.call("POST", path, text.encode(), JSON)
            self.call("POST", "/v1/recordings", text.encode(), JSON)
            self.call("POST", "/v1/recordings/$bulk", f'{{"items": [{text}]}}'.encode(), JSON)
        for content, fields in (
            (planted.word("file", "password={}").encode(), {}),
            (b"RIFF", {"secret": planted.word("form field")}),
            (b"RIFF", {"params": planted.word("form parameters", '{{"token": "{}"}}')}),
            (b"RIFF", {"provider": planted.word("form provider", "sk-{}")}),
        ):
            self.call("POST", "/v1/diarizations", multipart(content, fields), MULTIPART)
        named = multipart(b"RIFF").replace(
            b'filename="a.wav"', planted.word("file name", 'filename="sk-{}.wav"').encode()
        )
        self.call("POST", "/v1/diarizations", named, MULTIPART)

    def mishaps(self) -> None:
        """Code of the owner that puts what it was sent into exceptions, logs and spans."""
        for kind in KINDS:
            forms = [
                self.planted.word(f"{kind}: password", "password={}"),
                self.planted.word(f"{kind}: header", "Authorization: Bearer {}"),
                self.planted.word(f"{kind}: URL", "https://u:{}@h/"),
                self.planted.word(f"{kind}: socket", "wss://{}@h/"),
                self.planted.word(f"{kind}: pair", "[(b'x-api-key', b'{}')]"),
                self.planted.word(f"{kind}: e-mail", "{}%40a.example"),
                f"card {self.planted.groups(f'{kind}: spaces', chr(160))}",
                f"card {self.planted.groups(f'{kind}: dots', '.')}",
                f"card_{self.planted.card(f'{kind}: card behind a word')}",
                f"card {self.planted.card(f'{kind}: card')}",
            ]
            self.call("POST", f"/v1/mishaps/{kind}", json.dumps({"said": "\n".join(forms)}).encode(), JSON)


@dataclass(slots=True)
class Capture:
    """Everything that came out, by where it came out."""

    planted: Planted
    log: str
    spans: Collector
    metrics: str
    problems: list[Answer]
    commands: str
    left: str


@pytest.fixture(scope="module")
def captured(workshop: Workshop, tmp_path_factory: pytest.TempPathFactory) -> Capture:
    """Run the session once, stop the service, and return what was captured."""
    folder, planted = tmp_path_factory.mktemp("session"), Planted()
    project = indiscreet_project(workshop)
    with collector() as spans, indiscreet(planted) as vendor:
        env = stated(folder, planted, vendor, spans.url)
        assert 0 == command(project, folder, "migrate", env=env).returncode
        with running(project, folder, env) as service:
            session = Session(service, planted)
            session.everything()
            metrics = service.call("GET", "/metrics").body.decode()
            assert 0 == service.stop()
            log = service.log_file.read_text(encoding="utf-8")
        words = (["config", "show"], ["config", "show", "--json"], ["config", "check", "--strict"], ["providers"])
        said = [command(project, folder, *one, env=env) for one in words]
        wrong = {**env, f"{P}ACME__RESILIENCE__RETRY__ATTEMPTS": planted.word("wrong value", "sk-{}")}
        said.append(command(project, folder, "config", "check", env=wrong))
    own = {folder / ".env.local", folder / "config.toml", *(folder / "secrets").iterdir(), folder / "service.log"}
    left = [path for path in folder.rglob("*") if path.is_file() and path not in own]
    return Capture(
        planted,
        log,
        spans,
        metrics,
        session.seen,
        "".join(done.stdout + done.stderr for done in said),
        "".join(f"{path.name}\n{path.read_bytes().decode('latin-1')}" for path in left),
    )


def indiscreet_project(workshop: Workshop) -> Path:
    """Return a project with everything, with the extra for traces, and with an owner's code that tells secrets."""
    project = workshop.render(FULLEST, "hostile")
    (project / "src" / "my_service" / "wiring" / "mishaps.py").write_text(MODULE, encoding="utf-8")
    install(project, "--extra", "otel", "--extra", "redis")
    return project


def test_the_session_was_hostile(captured: Capture) -> None:
    """It planted what it says, and every way out was used; otherwise nothing would be proven."""
    events = [json.loads(line)["event"] for line in captured.log.splitlines()]
    assert len(captured.planted.sought) >= 60
    assert {"request_crashed", "thread_crashed", "provider_call_failed", "request_served"} <= set(events)
    assert any(event.startswith("Exception in callback") for event in events)
    assert captured.log.count("********") > 50
    assert len(captured.problems) > 150
    assert {400, 404, 405, 415, 422, 500, 502} <= {answer.status for answer in captured.problems}
    assert {"POST /v1/mishaps/{kind}", "adapter.call", "adapter.attempt"} <= {
        span.name for span in captured.spans.spans
    }
    assert any(event.name == "exception" for span in captured.spans.spans for event in span.events)
    assert "********" in captured.commands


def test_no_secret_is_in_the_log(captured: Capture) -> None:
    """Of the service, its libraries and its last words; every line is JSON with the ids of its request."""
    assert [] == captured.planted.found_in(captured.log)
    lines = [json.loads(line) for line in captured.log.splitlines()]
    served = [line for line in lines if line["event"] in ("request_served", "request_crashed", "provider_call_failed")]
    assert served
    assert all(re.fullmatch("[0-9a-f]{32}", line["trace_id"]) and line["correlation_id"] for line in served)


def test_no_secret_is_in_a_span(captured: Capture) -> None:
    """Whoever wrote it, and in whichever part."""
    texts = [str(request) for request in captured.spans.requests]
    raw = [request.SerializeToString().decode("latin-1") for request in captured.spans.requests]
    assert [] == captured.planted.found_in("".join([*texts, *raw]))


def test_spans_and_lines_name_the_same_trace(captured: Capture) -> None:
    """From a line of the log to the trace of its request."""
    traces = {span.trace_id.hex() for span in captured.spans.spans}
    lines = [json.loads(line) for line in captured.log.splitlines()]
    assert {line["trace_id"] for line in lines if line["event"] == "provider_call_failed"} <= traces


def test_no_secret_is_in_an_answer(captured: Capture) -> None:
    """Problems say what was wrong without saying it again, whoever asks: body and headers."""
    said = "".join(f"{answer.headers}{answer.body.decode()}" for answer in captured.problems)
    assert [] == captured.planted.found_in(said)


def test_no_secret_is_in_a_metric(captured: Capture) -> None:
    """And nobody can make up labels without end."""
    assert [] == captured.planted.found_in(captured.metrics)
    families = list(text_string_to_metric_families(captured.metrics))
    assert sum(len(family.samples) for family in families if family.name.startswith("adapter")) > 0
    requests = next(family for family in families if family.name == "http_requests")
    assert len(requests.samples) < MOST_SERIES


def test_no_secret_is_said_by_a_command(captured: Capture) -> None:
    """What settings are, and what is wrong with them."""
    assert [] == captured.planted.found_in(captured.commands)


def test_no_secret_is_left_in_a_file(captured: Capture) -> None:
    """Neither in the database nor in what uploads and jobs leave behind."""
    assert [] == captured.planted.found_in(captured.left)
