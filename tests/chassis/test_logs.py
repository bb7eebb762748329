"""One line per event, redacted where it is written, in JSON or as text."""

import io
import json
import logging
import sys
import warnings
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from object_service.chassis.contracts.context import Context, entered
from object_service.chassis.logs import JsonFormatter, LogSection, TextFormatter, configure_logging

SECRETS = st.text("abcdefghXYZ0123456789", min_size=8, max_size=30).map(lambda text: f"Q{text}Q")


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def _lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line, parse_constant=pytest.fail) for line in capsys.readouterr().err.splitlines()]


def _written(write: Callable[[logging.Logger], object]) -> str:
    """Return what one call writes through a UTF-8 stream such as stderr."""
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, "utf-8", "backslashreplace", write_through=True)
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    logger = logging.Logger("a.child")  # noqa: LOG001 - a logger of its own, outside of the tree
    logger.addHandler(handler)
    write(logger)
    return raw.getvalue().decode()


def _one_line(write: Callable[[logging.Logger], object]) -> dict[str, Any]:
    text = _written(write)
    assert text.endswith("\n")
    assert 1 == text.count("\n")
    line: dict[str, Any] = json.loads(text, parse_constant=pytest.fail)
    return line


def _raise(secret: str) -> None:
    try:
        try:
            raise KeyError(f"postgres://u:{secret}@db/app")  # noqa: TRY301 - causes are the point
        except KeyError as error:
            error.add_note(f"api_key={secret}")
            raise ValueError(f"Bearer {secret}") from error
    except ValueError:
        raise RuntimeError(f"password: {secret}")  # noqa: B904 - the implicit context is the point


def _logged_exception(logger: logging.Logger, secret: str) -> None:
    try:
        _raise(secret)
    except RuntimeError:
        logger.exception("it_failed")


LEAKS: dict[str, Callable[[logging.Logger, str], object]] = {
    "message": lambda log, secret: log.warning(f"token={secret}"),  # noqa: G004 - the point
    "argument": lambda log, secret: log.warning("token=%s, again %r", secret, {"token": secret}),
    "named-argument": lambda log, secret: log.warning("token=%(a)s", {"a": secret}),
    "wrong-argument": lambda log, secret: log.warning("count=%d", f"token={secret}"),
    "too-many-arguments": lambda log, secret: log.warning("done", f"token={secret}"),  # noqa: PLE1205 - the point
    "extra": lambda log, secret: log.warning("x", extra={"api_key": secret, "url": f"https://a:{secret}@h/"}),
    "nested-extra": lambda log, secret: log.warning("x", extra={"a": [{"b": {"password": secret}}]}),
    "object-extra": lambda log, secret: log.warning("x", extra={"error": ValueError(f"secret={secret}")}),
    "exception": _logged_exception,
    "stack": lambda log, secret: log.warning(f"token={secret}", stack_info=True),  # noqa: G004 - the point
    "child": lambda log, secret: _child(log).warning("password=%s", secret),
    "header": lambda log, secret: log.warning("Authorization: Bearer %s", secret),
    "query": lambda log, secret: log.warning("GET https://h/?key=%s", secret),
}


def _child(logger: logging.Logger) -> logging.Logger:
    child = logging.Logger("a.child.of.a.library")  # noqa: LOG001 - as above
    child.parent = logger
    return child


@pytest.mark.parametrize("leak", LEAKS.values(), ids=LEAKS)
@given(secret=SECRETS)
def test_no_way_into_a_line_carries_a_secret(leak: Callable[[logging.Logger, str], object], secret: str) -> None:
    """Message, arguments, extra fields, exception texts with their causes, children: all are redacted."""
    with pytest.MonkeyPatch.context() as patch:
        stderr = io.StringIO()
        patch.setattr(sys, "stderr", stderr)
        text = _written(lambda logger: leak(logger, secret))

    assert secret not in text
    assert "********" in text
    assert "" == stderr.getvalue()


@given(st.text(max_size=80), st.dictionaries(st.text(min_size=1, max_size=8).map("x_".__add__), st.text(max_size=40)))
def test_any_text_becomes_one_line_of_json(message: str, extra: dict[str, Any]) -> None:
    """Line ends, control characters and halves of characters do not break the line."""
    line = _one_line(lambda logger: logger.warning("%s", message + "\ud83d\n\u2028\x00\udc80", extra=extra))

    assert line["event"].endswith("\ud83d\n\u2028\x00\udc80")
    assert set(extra) <= set(line)


class _Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    "value",
    [object(), b"\xff", {1, 2}, {(1, 2): object()}, float("nan"), 10**5000, _Unprintable(), [[_Unprintable()]]],
    ids=["object", "bytes", "set", "tuple-key", "nan", "giant", "unprintable", "deep-unprintable"],
)
def test_any_value_becomes_one_line_of_json(value: object) -> None:
    """A value that JSON does not know costs neither the line nor its other fields."""
    line = _one_line(lambda logger: logger.warning("x", extra={"value": value, "other": 1}))

    assert 1 == line["other"]
    assert "value" in line


def test_a_line_says_when_where_and_what() -> None:
    """Time, level, event, logger and service stand in every line; fields follow with their own types."""
    with entered(Context("3f0c")):
        line = _one_line(lambda logger: logger.error("it_happened", extra={"count": 3, "event": "mine", "time": 1}))

    assert "Z" == line.pop("time")[-1]
    assert {
        "level": "error",
        "event": "it_happened",
        "logger": "a.child",
        "service": "object-service",
        "correlation_id": "3f0c",
        "trace_id": "993fbc432b4f7f5a2122710cb98bcb12",
        "count": 3,
    } == line


@pytest.mark.parametrize(
    ("given_", "written"),
    [
        ("sk-live-0123456789abcdef", "********"),
        ("4111111111111111", "********"),
        ("12345678-1234-4123-8123-123456789012", "12345678-1234-4123-8123-123456789012"),
        ("3f0c.A_b-9", "3f0c.A_b-9"),
    ],
    ids=["token", "card", "uuid", "plain"],
)
def test_the_correlation_id_is_redacted(given_: str, written: str) -> None:
    """It comes from the caller, who may put anything of that form into it."""
    with entered(Context(given_)):
        line = _one_line(lambda logger: logger.error("it_happened"))

    assert written == line["correlation_id"]


def test_every_line_of_a_call_names_its_trace() -> None:
    """With the id that the caller's tracing knows, or the one that belongs to the correlation id."""
    trace = "0af7651916cd43dd8448eb211c80319c"
    with entered(Context("c", traceparent=f"00-{trace}-b7ad6b7169203331-01")):
        traced = _one_line(lambda logger: logger.error("it_happened"))
    with entered(Context("c")):
        plain = _one_line(lambda logger: logger.error("it_happened"))

    assert (trace, Context("c").trace_id) == (traced["trace_id"], plain["trace_id"])


def test_an_exception_brings_its_trace() -> None:
    """The trace with all causes is one field; without an exception there is none."""
    line = _one_line(lambda logger: _logged_exception(logger, "x"))
    plain = _one_line(lambda logger: logger.warning("x", exc_info=True))  # noqa: LOG014 - the point

    assert ["KeyError", "ValueError", "RuntimeError"] == [
        name for name in ("KeyError", "ValueError", "RuntimeError") if f"\n{name}" in line["exception"]
    ]
    assert "exception" not in plain
    assert "correlation_id" not in plain


def test_a_stack_is_redacted() -> None:
    """Source lines of a stack may hold a secret too."""
    record = logging.makeLogRecord({"msg": "x", "stack_info": "Stack:\n  connect(token='abc')"})

    assert "Stack:\n  connect(token=********)" == json.loads(JsonFormatter().format(record))["stack"]


def test_text_is_one_readable_line_and_the_trace() -> None:
    """People read time, level, event and fields; nobody can forge a second line."""
    record = logging.makeLogRecord(
        {
            "msg": "it_happened\nERROR forged",
            "levelname": "WARNING",
            "created": 1.5,
            "name": "a",
            "count": 3,
            "b": "\r\n",
        }
    )

    assert "00:00:01.500 warning it_happened\\nERROR forged count=3 b=\\r\\n" == TextFormatter().format(record)


def test_text_shows_the_trace_below() -> None:
    """A trace keeps its lines, redacted."""
    secret = "hunter" * 3
    with pytest.raises(RuntimeError) as caught:
        _raise(secret)
    exc_info = (caught.type, caught.value, caught.tb)
    record = logging.makeLogRecord({"msg": "x", "levelname": "ERROR", "exc_info": exc_info})

    lines = TextFormatter().format(record).splitlines()

    assert lines[0].endswith(" error   x")
    assert "RuntimeError: password: ********" == lines[-1]
    assert secret not in "".join(lines)


@pytest.mark.parametrize(
    ("expected", "level"),
    [(4, "debug"), (3, "info"), (2, "warning"), (1, "error")],
)
def test_the_level_decides_what_is_written(capsys: pytest.CaptureFixture[str], expected: int, level: Any) -> None:
    """Lines below the level are left out, for every logger of the process."""
    configure_logging(LogSection(level=level, format="json"))
    logger = logging.getLogger("some.library")

    for write in (logger.debug, logger.info, logger.warning, logger.error):
        write("x")

    assert expected == len(_lines(capsys))


@pytest.mark.parametrize(
    ("is_json", "form", "terminal"),
    [
        (True, "json", True),
        (False, "text", False),
        (True, "auto", False),
        (False, "auto", True),
    ],
    ids=["json", "text", "auto-elsewhere", "auto-terminal"],
)
def test_the_format_follows_the_setting(
    monkeypatch: pytest.MonkeyPatch,
    is_json: bool,  # noqa: FBT001 - a parameter of the test
    form: Any,
    terminal: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """Automatic means text on a terminal, JSON elsewhere."""
    stderr = _Terminal() if terminal else io.StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)

    configure_logging(LogSection(format=form))
    logging.getLogger("a").info("x")

    assert is_json == stderr.getvalue().startswith("{")


def test_configuring_twice_writes_once(capsys: pytest.CaptureFixture[str]) -> None:
    """The later set-up replaces the former one."""
    configure_logging(LogSection(format="text"))
    configure_logging(LogSection(format="json"))
    logging.getLogger("a").info("x")

    assert ["x"] == [line["event"] for line in _lines(capsys)]


def test_the_server_logs_through_the_same_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """The server's own handlers are gone, its warnings come as JSON, its chatter does not."""
    server = logging.getLogger("uvicorn.error")
    server.addHandler(logging.StreamHandler())
    server.propagate = False

    configure_logging(LogSection(format="json"))
    server.info("Started server process")
    server.warning("token=%s", "hunter2")
    logging.getLogger("httpx2").info("HTTP Request: GET https://h/?key=abc")

    assert ["token=********"] == [line["event"] for line in _lines(capsys)]


def test_warnings_become_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """Python's own warnings are captured and redacted."""
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        configure_logging(LogSection(format="json"))
        warnings.warn("old: password=hunter2", stacklevel=1)

    (line,) = _lines(capsys)

    assert ("py.warnings", "warning") == (line["logger"], line["level"])
    assert "hunter2" not in line["event"]
