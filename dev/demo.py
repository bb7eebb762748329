"""Demo: renders a service, installs it, starts it, uses it over HTTP and stops it again."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from tools import ROOT, environment, run, sync, uv

_TARGET = ROOT / "scratch" / "my-service"
_START_TIMEOUT_S = 60
_WORK_TIMEOUT_S = 60


def main() -> int:
    """Return 0 when the service was rendered, answered both questions and stopped cleanly."""
    if sys.version_info < (3, 11):  # noqa: UP036 - this file is what tells a stranger
        sys.exit(f"Python 3.11 or newer is needed to start; this is {sys.version.split()[0]}.")
    _say("Setting up the tools (into .tools and .venv of this folder)")
    sync()
    _render()
    _say("Installing the service (uv sync)")
    _in_service(str(uv()), "sync", "--quiet")
    _say("Starting it (my-service serve, on a free port)")
    log = _TARGET.parent / "my-service.log"
    with log.open("w", encoding="utf-8") as stream:
        command = [str(_TARGET / ".venv" / "bin" / "my-service"), "serve", "--port", "0"]
        server = subprocess.Popen(command, cwd=_TARGET, env=environment(), stderr=stream)
        try:
            _use(_url(server, log))
        finally:
            server.send_signal(signal.SIGTERM)
            code = server.wait(timeout=30)
    _say(f"Stopped with SIGTERM; exit code {code}")
    _next_steps()
    return code


def _render() -> None:
    if (_TARGET / ".copier-answers.yml").exists():
        _say(f"Replacing the service of the last run in {_shown(_TARGET)}")
        shutil.rmtree(_TARGET)
    elif _TARGET.exists():
        sys.exit(f"{_TARGET} exists and is no rendered service; move it away and run this again.")
    _say(f"Rendering a service into {_shown(_TARGET)} (copier copy --defaults)")
    if run("copier", "copy", "--defaults", "--quiet", "--vcs-ref=HEAD", str(ROOT), str(_TARGET)) != 0:
        sys.exit("The template could not be rendered; the reason stands above.")


def _in_service(*command: str) -> None:
    if subprocess.run(command, cwd=_TARGET, env=environment(), check=False).returncode != 0:
        sys.exit(f"'{' '.join(command[1:])}' failed in {_TARGET}; the reason stands above.")


def _url(server: subprocess.Popen[bytes], log: Path) -> str:
    limit = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < limit and server.poll() is None:
        for line in log.read_text(encoding="utf-8").splitlines():
            found = re.search(r'"event": "server_started".*"url": "([^"]+)"', line)
            if found:
                return found[1]
        time.sleep(0.05)
    sys.exit(f"The service did not start; its log is {log}:\n{log.read_text(encoding='utf-8')}")


def _use(url: str) -> None:
    _say(f"It answers on {url}")
    question = json.dumps({"prompt": "Hello from the demo"}).encode()
    _say('POST /v1/generations {"prompt": "Hello from the demo"}')
    _show(_call(f"{url}/v1/generations", question, "application/json"))
    recording = _TARGET / "examples" / "two_speakers.wav"
    _say("POST /v1/diarizations with examples/two_speakers.wav")
    begun = _call(f"{url}/v1/diarizations", *_multipart(recording))
    _say(f"202, {begun['status']}; reading GET /v1/diarizations/{begun['id']} until it has ended")
    limit = time.monotonic() + _WORK_TIMEOUT_S
    envelope = begun
    while envelope["status"] in ("pending", "running") and time.monotonic() < limit:
        time.sleep(0.2)
        envelope = _call(f"{url}/v1/diarizations/{begun['id']}")
    _show(envelope)
    if envelope["status"] != "succeeded":
        sys.exit("The diarization did not succeed.")


def _call(url: str, body: bytes | None = None, media_type: str = "") -> dict[str, Any]:
    headers = {"Content-Type": media_type} if media_type else {}
    with urlopen(Request(url, body, headers), timeout=30) as answer:  # noqa: S310 - the loopback server started above
        document: dict[str, Any] = json.load(answer)
    return document


def _multipart(file: Path) -> tuple[bytes, str]:
    boundary = uuid.uuid4().hex
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{file.name}"\r\n\r\n'
    body = head.encode() + file.read_bytes() + f"\r\n--{boundary}--\r\n".encode()
    return body, f"multipart/form-data; boundary={boundary}"


def _show(envelope: dict[str, Any]) -> None:
    text = json.dumps(envelope, indent=2, ensure_ascii=False)
    # A segment or a count fits on a line; the rest stays indented.
    print(re.sub(r"\{\s+((?:\"[^{}\[\]]*?)?)\s+\}", lambda found: "{ " + " ".join(found[1].split()) + " }", text))


def _say(text: str) -> None:
    print(f"\n==> {text}", flush=True)


def _shown(path: Path) -> str:
    return os.path.relpath(path, Path.cwd())


def _next_steps() -> None:
    folder, copier = (shlex.quote(_shown(path)) for path in (_TARGET, ROOT / ".venv" / "bin" / "copier"))
    path = shlex.quote(str(uv().parent))
    _say("Next")
    print(
        f"""
The service stays in {_shown(_TARGET)}. Look around:

  cd {folder}
  less README.md

Start your own (any folder outside this one):

  {copier} copy {shlex.quote(str(ROOT))} /path/to/your-service

Then, in it (the first line only where uv is not installed):

  export PATH={path}:"$PATH"
  uv sync && uv run just check
"""
    )


if __name__ == "__main__":
    sys.exit(main())
