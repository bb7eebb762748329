"""The listener of operators: what they ask is there without credentials, and nowhere else."""

import asyncio
import logging
import signal
import socket

import httpx2
import pytest

from chassis.web.app import FEATURES
from object_service.chassis.auth.authentication import Authentication
from object_service.chassis.config.loading import load
from object_service.chassis.container import Container
from object_service.chassis.metrics import Metrics
from object_service.chassis.web.app import build_app, build_operations
from object_service.chassis.web.server import PortInUseError, serve
from object_service.chassis.web.settings import HttpSection, OpsSection


async def _fails() -> None:
    raise OSError


async def test_each_listener_has_its_own_routes(caplog: pytest.LogCaptureFixture) -> None:
    """Callers are asked for credentials, operators are not; one signal ends both."""
    caplog.set_level(logging.INFO)
    container, settings = Container(), load(FEATURES)
    container.provide(Authentication, Authentication(open=False))
    container.provide(Metrics, Metrics())
    container.add_ping("database", _fails)
    app = build_app(settings, FEATURES, container, operations=False)
    apart = build_operations(settings, FEATURES, container), OpsSection(port=0)
    task = asyncio.create_task(serve(app, HttpSection(port=0), container.stopping, apart))
    async with asyncio.timeout(10):
        while not (started := [vars(line) for line in caplog.records if line.message == "server_started"]):  # noqa: ASYNC110 - only a line tells
            await asyncio.sleep(0.005)
    paths = ("/livez", "/readyz", "/info", "/metrics", "/v1/provided")
    async with httpx2.AsyncClient() as client:
        found = {
            name: [await client.get(f"{started[0][name]}{path}") for path in paths]
            for name in ("url", "operations_url")
        }
    signal.raise_signal(signal.SIGTERM)
    await asyncio.wait_for(task, 20)

    assert [200, 503, 401, 401, 401] == [answer.status_code for answer in found["url"]]
    assert [200, 503, 200, 200, 404] == [answer.status_code for answer in found["operations_url"]]
    assert {"status": "failed"} == found["url"][1].json()
    assert {"status": "failed", "checks": {"database": {"status": "failed"}}} == found["operations_url"][1].json()
    assert b'status="401"' in found["operations_url"][3].content
    assert "not_found" == found["operations_url"][4].json()["code"]


async def test_one_port_cannot_serve_both() -> None:
    """On two addresses of one machine they could not be told apart; no socket stays open."""
    container, settings = Container(), load(FEATURES)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
    app, apart = build_app(settings, FEATURES, container), build_operations(settings, FEATURES, container)
    with pytest.raises(PortInUseError, match=f"port {port} is to serve callers and operators"):
        await serve(app, HttpSection(port=port), container.stopping, (apart, OpsSection(host="127.0.0.2", port=port)))
