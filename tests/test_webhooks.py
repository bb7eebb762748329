"""A service that announces the end of its work, as its operators and a receiver meet it."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from receiver import SECRET, Receiver, receiver
from rendering import FULLEST, Workshop
from serving import Service, command, running, spoken

pytestmark = pytest.mark.gate

WEBHOOK = "MY_SERVICE_JOBS__WEBHOOK__"
PAUSES_S = "[1.5, 1.5, 3600]"


@pytest.fixture
def project(workshop: Workshop) -> Path:
    """Return an installed project with jobs."""
    return workshop.install(FULLEST)


@pytest.fixture
def listener() -> Iterator[Receiver]:
    """Yield a receiver."""
    with receiver() as found:
        yield found


def _environment(folder: Path, url: str) -> dict[str, str]:
    webhook = {"URL": url, "SECRET": SECRET, "PAUSES_S": PAUSES_S}
    return {"MY_SERVICE_DATABASE__URL": f"sqlite:///{folder / 'data.db'}"} | {
        f"{WEBHOOK}{name}": value for name, value in webhook.items()
    }


def _job(service: Service, id_: str, status: str) -> dict[str, Any]:
    limit = time.monotonic() + 30
    while (found := service.call("GET", f"/v1/jobs/{id_}").document)["status"] != status and time.monotonic() < limit:
        time.sleep(0.05)
    assert status == found["status"]
    return found


def test_an_announcement_survives_the_service(project: Path, tmp_path: Path, listener: Receiver) -> None:
    """Killed after each refusal, it goes on where it was; the receiver gets the same announcement until it takes it."""
    env = _environment(tmp_path, listener.url)
    assert 0 == command(project, tmp_path, "migrate", env=env).returncode
    with running(project, tmp_path, env) as service:
        id_ = service.upload(spoken(2)).document["id"]
        listener.refuses(id_, 500, 503)
        job = listener.wait(id_, 1)[0].id
        assert "due_at" in _job(service, job, "delayed")
        service.process.kill()
    with running(project, tmp_path, env) as service:
        listener.wait(id_, 2)
        _job(service, job, "delayed")
        service.process.kill()
    with running(project, tmp_path, env) as service:
        heard = listener.wait(id_, 3)
        ended = _job(service, job, "succeeded")
        envelope = service.call("GET", heard[0].event()["data"]["location"]).document
        delivered = [line for line in service.log() if line["event"] == "webhook_delivered"]
        assert 0 == service.stop()
    assert ({"attempt": 3, "status": 204}, 1, [(job, 3)]) == (
        *(ended["result"], ended["attempts"]),
        [(line["webhook_id"], line["attempt"]) for line in delivered],
    )
    events = [one.event() for one in heard]
    assert ([job] * 3, ["diarization.succeeded"] * 3) == ([one.id for one in heard], [one["type"] for one in events])
    assert (id_, "succeeded", envelope["provenance"]["finished_at"]) == (
        *(envelope["id"], envelope["status"]),
        events[0]["timestamp"],
    )


def test_what_was_given_up_is_sent_again_by_command(project: Path, tmp_path: Path, listener: Receiver) -> None:
    """The job has failed and is listed; `jobs retry` sends it once more. A single command announces nothing."""
    env = _environment(tmp_path, listener.url) | {f"{WEBHOOK}PAUSES_S": "[]"}
    assert 0 == command(project, tmp_path, "migrate", env=env).returncode
    recording = tmp_path / "a.wav"
    recording.write_bytes(spoken(2))
    assert 0 == command(project, tmp_path, "diarize", str(recording), env=env).returncode
    with running(project, tmp_path, env) as service:
        id_ = service.upload(spoken(2)).document["id"]
        listener.refuses(id_, 500)
        job = listener.wait(id_, 1)[0].id
        assert "webhook_failed" == _job(service, job, "failed")["error"]["code"]
        listed = command(
            project, tmp_path, "jobs", "list", "--status", "failed", "--name", "webhook", "--json", env=env
        )
        assert [job] == [one["id"] for one in json.loads(listed.stdout)["items"]]
        assert 0 == command(project, tmp_path, "jobs", "retry", job, env=env).returncode
        _job(service, job, "succeeded")
    assert [job, job] == [one.id for one in listener.heard]


def test_settings_that_cannot_work_are_refused_by_name(project: Path, tmp_path: Path) -> None:
    """A URL without a secret, one that is not encrypted, and a secret that is none."""
    found = command(project, tmp_path, "config", "check", env={f"{WEBHOOK}URL": "http://example.com/hook"})
    assert 78 == found.returncode
    assert [f"{WEBHOOK}SECRET (default)", f"{WEBHOOK}URL (environment)"] == [
        line.partition(":")[0] for line in found.stderr.splitlines() if line.startswith(WEBHOOK)
    ]
    env = {f"{WEBHOOK}URL": "https://example.com/hook", f"{WEBHOOK}SECRET": "hunter22"}
    wrong = command(project, tmp_path, "config", "check", env=env)
    assert (78, True, False) == (wrong.returncode, "whsec_ and the base64" in wrong.stderr, "hunter22" in wrong.stderr)
