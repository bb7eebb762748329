"""Logs: one stream on stderr for service, server and libraries; redacted where it is written."""

import json
import logging
import sys
import traceback
from typing import Any, Literal, override

from pydantic import Field

from .config.section import Section
from .contracts.context import current_or_none
from .contracts.json import timestamp_of
from .identity import SERVICE
from .last_words import speak_last_words
from .redaction import redact, redact_text
from .sampling import SampledHandler

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}
_QUIET = ("httpx2", "httpcore2", "uvicorn.error", "asyncio")
"""Loggers whose INFO lines repeat ours; httpx2 names full URLs."""


class LogSection(Section):
    """What is logged, and how it looks."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least severe lines to write."
    )
    format: Literal["auto", "json", "text"] = Field(
        default="auto", description="json, text for people, or auto: text on a terminal, json elsewhere."
    )
    sample: float = Field(
        default=1,
        ge=0,
        le=1,
        description="Share of the requests whose lines are written; warnings, errors and all lines of a request that "
        "failed always are.",
    )


class JsonFormatter(logging.Formatter):
    """One JSON object per line."""

    @override
    def format(self, record: logging.LogRecord) -> str:
        return json.dumps(fields_of(record), ensure_ascii=False, default=str)


class TextFormatter(logging.Formatter):
    """One readable line per event, followed by the trace of its exception."""

    @override
    def format(self, record: logging.LogRecord) -> str:
        fields = fields_of(record)
        head = [str(fields.pop("time"))[11:23], f"{fields.pop('level'):<7}", str(fields.pop("event"))]
        trace = fields.pop("exception", None)
        for name in ("service", "logger"):
            fields.pop(name)
        line = " ".join([*head, *(f"{name}={value}" for name, value in fields.items())])
        line = line.replace("\r", "\\r").replace("\n", "\\n")
        return f"{line}\n{trace}" if trace else line


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """Return everything a record says, redacted, exception text included."""
    context = current_or_none()
    fields: dict[str, Any] = {
        "time": timestamp_of(record.created),
        "level": record.levelname.lower(),
        "event": redact_text(_message(record)),
        "logger": record.name,
        "service": SERVICE,
    }
    if context is not None:
        fields["correlation_id"] = redact_text(context.correlation_id)
        fields["trace_id"] = context.trace_id
    extra = {name: value for name, value in vars(record).items() if name not in _STANDARD}
    fields |= {name: redact(value, name) for name, value in extra.items() if name not in fields}
    if record.exc_info and record.exc_info[0] is not None:
        fields["exception"] = redact_text("".join(traceback.format_exception(*record.exc_info)).rstrip())
    if record.stack_info:
        fields["stack"] = redact_text(record.stack_info)
    return fields


def _message(record: logging.LogRecord) -> str:
    """Return the text of a record; one whose arguments do not fit is not lost, nor printed unredacted."""
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001 - whatever formatting raises
        return f"{record.msg} {redact(record.args)}"


def configure_logging(section: LogSection) -> None:
    """Send every logger of the process through the one formatter; calling it again replaces the former set-up."""
    as_json = section.format == "json" or (section.format == "auto" and not sys.stderr.isatty())
    handler = SampledHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if as_json else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(section.level.upper())
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.captureWarnings(capture=True)
    speak_last_words()
