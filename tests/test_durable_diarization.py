"""Diarization on durable jobs: it outlives the processes, ends once, and leaves no upload behind."""

import http.client
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlsplit

import pytest

from chores import Scene, until
from diarization_vendor import DiarizationVendor, diarization_vendor
from scenes import on_server, scene, stage
from serving import Service, spoken

__all__ = ["on_server", "scene", "stage"]

pytestmark = pytest.mark.gate


@pytest.fixture
def outside() -> Iterator[DiarizationVendor]:
    """Yield a vendor whose jobs go on until a test ends them."""
    with diarization_vendor() as vendor:
        yield vendor


def _settings(scene: Scene, outside: DiarizationVendor) -> dict[str, str]:
    return {**outside.environment(), "uploads_dir": str(scene.folder / "uploads")}


def _uploads(scene: Scene) -> int:
    return len(list((scene.folder / "uploads").iterdir()))


def _accepted(service: Service) -> str:
    answer = service.upload(spoken(2))
    assert 202 == answer.status, answer.body
    return str(answer.document["id"])


def _status(service: Service, id_: str) -> dict[str, Any]:
    return service.call("GET", f"/v1/diarizations/{id_}").document


def test_a_restart_resumes_it(scene: Scene, outside: DiarizationVendor) -> None:
    """Killed while the vendor works, the next process awaits the same job, and the upload goes at the end."""
    settings = _settings(scene, outside)
    with ExitStack() as stack:
        service = stack.enter_context(scene.serving("first", **settings))
        embedded = scene.url.startswith("sqlite")
        killed = service if embedded else scene.worker(**settings).started()
        id_ = _accepted(service)
        until(lambda: any(one.startswith("GET /v1/jobs/") for one in outside.asked), "nobody awaits it")
        assert 1 == _uploads(scene)
        killed.process.kill()
        killed.process.wait()
        if embedded:
            service = stack.enter_context(scene.serving("second", **settings))
        else:
            scene.worker(**settings)
        outside.ended.set()
        envelope = service.finished(id_)
        assert ("succeeded", "outside", 1) == (
            *(envelope["status"], envelope["provenance"]["provider"]),
            outside.submitted(),
        )
        until(lambda: _uploads(scene) == 0, "the upload stays", 10)
        until(lambda: service.call("GET", f"/v1/jobs/{id_}").document["status"] == "succeeded", "no end", 10)


def test_operators_watch_a_worker(on_server: Scene, outside: DiarizationVendor) -> None:
    """What it asked of the vendor is in metrics of its own; a port that is taken is told, and it ends as ever."""
    settings = _settings(on_server, outside)
    worker = on_server.worker(**settings, MY_SERVICE_OPS__PORT="0").started()
    (url,) = (line["operations_url"] for line in worker.said("server_started"))
    outside.ended.set()
    with on_server.serving(**settings) as service:
        service.finished(_accepted(service))
    found = {path: _get(f"{url}{path}") for path in ("/livez", "/readyz", "/metrics", "/v1/jobs")}
    assert [200, 200, 200, 404] == [status for status, _ in found.values()]
    counted = re.findall(r"^adapter_calls_total\{(.*)\} (\S+)$", found["/metrics"][1], re.MULTILINE)
    assert any('outcome="succeeded"' in labels and 'provider="outside"' in labels for labels, _ in counted), counted
    taken = on_server.command("worker", "--ops-port", url.rpartition(":")[2])
    assert 1 == taken.returncode
    assert "cannot be bound (Address already in use); choose another one with --ops-port" in taken.stderr
    assert 0 == worker.stop()


def _get(url: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", urlsplit(url).port, timeout=20)
    try:
        connection.request("GET", urlsplit(url).path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


@pytest.mark.parametrize("path", ["/v1/diarizations/", "/v1/jobs/"])
def test_work_that_nobody_runs_is_cancelled(on_server: Scene, outside: DiarizationVendor, path: str) -> None:
    """Without any worker, the envelope says at once that it was cancelled, whichever resource is deleted."""
    with on_server.serving(**_settings(on_server, outside)) as service:
        id_ = _accepted(service)
        begun = time.monotonic()
        for _ in range(2):
            assert 200 == service.call("DELETE", f"{path}{id_}").status
        assert time.monotonic() - begun < 5
        assert ("failed", "cancelled") == (
            (found := _status(service, id_))["status"],
            found["error"]["code"],
        )
        assert "cancelled" == service.call("GET", f"/v1/jobs/{id_}").document["status"]
        assert 0 == _uploads(on_server)


@pytest.mark.parametrize("worker", ["alive", "gone"])
def test_running_work_is_cancelled(on_server: Scene, outside: DiarizationVendor, worker: str) -> None:
    """The worker that runs it writes its end; where that is gone, the server does, after a while."""
    settings = {**_settings(on_server, outside), "lease_s": "60", "outage_grace_s": "60"}
    with on_server.serving(**settings) as service:
        runs = on_server.worker(**settings).started()
        id_ = _accepted(service)
        until(lambda: "running" == _status(service, id_)["status"], "it does not run")
        if worker == "gone":
            runs.kill()
        begun = time.monotonic()
        answer = service.call("DELETE", f"/v1/diarizations/{id_}")
        assert (200, "failed", "cancelled") == (
            *(answer.status, answer.document["status"]),
            answer.document["error"]["code"],
        )
        assert time.monotonic() - begun < (8 if worker == "alive" else 20)
        assert 0 == _uploads(on_server)
        again = service.call("DELETE", f"/v1/diarizations/{id_}")
        assert (200, answer.document) == (again.status, again.document)
