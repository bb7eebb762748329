"""Each request is logged as a whole or not at all, unless something went wrong."""

import asyncio
import logging
from typing import Any

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chassis.web.app import client_of
from object_service.chassis.logs import LogSection, configure_logging
from object_service.chassis.web.sampled import Sampled

LOG = logging.getLogger("of.a.request")


def _answering(status: int, *, complete: bool = True, level: int = logging.INFO) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        del scope, receive
        LOG.info("begun")
        await send({"type": "http.response.start", "status": status, "headers": []})
        LOG.log(level, "going_on")
        await send({"type": "http.response.body", "body": b"", "more_body": not complete})

    return app


def _serve(app: ASGIApp, share: float = 0.5, draw: float = 0.5, kind: str = "http") -> None:
    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(_: Message) -> None:
        return

    configure_logging(LogSection(format="json"))
    asyncio.run(Sampled(app, share, lambda: draw)({"type": kind}, receive, send))


def _written(capsys: pytest.CaptureFixture[str]) -> int:
    return len(capsys.readouterr().err.splitlines())


@pytest.mark.parametrize(
    ("expected", "share", "draw"),
    [(2, 0.5, 0.49), (0, 0.5, 0.5), (0, 0.0, 0.0), (2, 0.01, 0.0), (0, 0.01, 0.99)],
)
def test_the_share_decides(capsys: pytest.CaptureFixture[str], expected: int, share: float, draw: float) -> None:
    """All lines of a request, or none."""
    _serve(_answering(200), share, draw)

    assert expected == _written(capsys)


@pytest.mark.parametrize(
    "app",
    [
        _answering(400),
        _answering(429),
        _answering(500),
        _answering(200, level=logging.WARNING),
        _answering(200, complete=False),
    ],
    ids=["refused", "too-many", "crashed", "warned", "broken-off"],
)
def test_what_failed_is_never_left_out(capsys: pytest.CaptureFixture[str], app: ASGIApp) -> None:
    """Whoever looks for the reason finds every line."""
    _serve(app)

    assert 2 == _written(capsys)


@pytest.mark.parametrize("error", [RuntimeError(), asyncio.CancelledError()], ids=repr)
def test_a_request_that_ends_without_an_answer_is_never_left_out(
    capsys: pytest.CaptureFixture[str], error: BaseException
) -> None:
    """An error that passes through, or a caller who left."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        del scope, receive, send
        LOG.info("begun")
        raise error

    with pytest.raises(type(error)):
        _serve(app)
    assert 1 == _written(capsys)


def test_only_requests_are_sampled(capsys: pytest.CaptureFixture[str]) -> None:
    """Other protocols pass untouched."""
    _serve(_answering(200), kind="lifespan")

    assert 2 == _written(capsys)


async def test_the_setting_leaves_out_access_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a share of 0 only what failed is written; without the setting, everything."""
    configure_logging(LogSection(format="json"))
    counts: list[Any] = []
    for share in ("0", ""):
        monkeypatch.setenv("OBJECT_SERVICE_LOG__SAMPLE", share)
        async with client_of() as client:
            for path in ("/info", "/v1/missing"):
                await client.get(path)
        counts.append(_written(capsys))

    assert [1, 2] == counts
