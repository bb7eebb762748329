"""Replicas: two processes of one service that share a rate and a cache through a real Redis, and lose it."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from redis_server import RedisServer
from rendering import DEFAULT, Workshop, install
from serving import Service, running
from vendor import Vendor, instance, vendor

pytestmark = pytest.mark.gate

RATE_PER_S = 10
BURST = 5
CALLS = 20


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    """Return a server of its own for each test."""
    with RedisServer(tmp_path) as server:
        yield server


@pytest.fixture
def outside() -> Iterator[Vendor]:
    """Return the vendor that both replicas call."""
    with vendor() as running_vendor:
        yield running_vendor


@pytest.fixture
def replicas(workshop: Workshop, redis: RedisServer, outside: Vendor, tmp_path: Path) -> Iterator[list[Service]]:
    """Return two processes of one service."""
    project = workshop.install(DEFAULT, "replicas")
    install(project, "--extra", "redis")
    prefix = "MY_SERVICE_PROVIDERS__"
    environment = {
        **instance("paced", outside.url, "paced", "secret"),
        **instance("kept", outside.url, "kept", "secret"),
        "MY_SERVICE_REDIS__URL": redis.url,
        f"{prefix}PACED__RESILIENCE__RATE_LIMIT__RATE_PER_S": str(RATE_PER_S),
        f"{prefix}PACED__RESILIENCE__RATE_LIMIT__BURST": str(BURST),
        f"{prefix}PACED__RESILIENCE__RATE_LIMIT__MAX_WAIT_S": "5",
        f"{prefix}PACED__RESILIENCE__RATE_LIMIT__SCOPE": "redis",
        f"{prefix}PACED__RESILIENCE__RATE_LIMIT__REPLICAS": "2",
        f"{prefix}KEPT__RESILIENCE__CACHE__TYPE": "redis",
    }
    with ExitStack() as stack:
        services = []
        for name in ("first", "second"):
            (tmp_path / name).mkdir()
            services.append(stack.enter_context(running(project, tmp_path / name, environment)))
        yield services


def _ask(service: Service, provider: str, prompt: str = "hello") -> int:
    return service.post("/v1/generations", {"prompt": prompt, "provider": provider}).status


def _ask_both(replicas: list[Service]) -> float:
    """Send calls to both replicas in turn, all at once; return the seconds until the last answer."""
    begun = time.monotonic()
    with ThreadPoolExecutor(CALLS) as threads:
        answers = threads.map(lambda number: _ask(replicas[number % 2], "paced"), range(CALLS))
    assert [200] * CALLS == list(answers)
    return time.monotonic() - begun


def test_replicas_share_a_rate_and_go_on_without_redis(replicas: list[Service], redis: RedisServer) -> None:
    """Together they keep the rate; without Redis each keeps its share, says so once, and no call fails."""
    together_s = _ask_both(replicas)
    redis.kill()
    alone_s = _ask_both(replicas)

    assert (CALLS - BURST) / RATE_PER_S - 0.1 <= together_s
    assert (CALLS / 2 - BURST // 2) / (RATE_PER_S / 2) - 0.1 <= alone_s
    for replica in replicas:
        assert 1 == [line["event"] for line in replica.log()].count("redis_unavailable")


def test_replicas_share_answers(replicas: list[Service], outside: Vendor, redis: RedisServer) -> None:
    """What one replica was told the other knows; without Redis both ask."""
    assert [200, 200] == [_ask(replica, "kept") for replica in replicas]
    assert 1 == len(outside.asked)
    redis.kill()

    assert [200, 200] == [_ask(replica, "kept") for replica in replicas]
    assert 3 == len(outside.asked)
