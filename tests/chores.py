"""The processes that run the jobs of an owner, and what these have done.

Each step writes its line to a file when it begins and when it ends, so that a test sees what happened beside what the
engine recorded.
"""

import json
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from rendering import clean_environment
from serving import Service, command

URL = "MY_SERVICE_DATABASE__URL"


class Worker:
    """A process that runs jobs: `my-service worker`."""

    def __init__(self, project: Path, folder: Path, environment: Mapping[str, str]) -> None:
        """Start it."""
        folder.mkdir(parents=True, exist_ok=True)
        self._log = folder / "worker.log"
        command = [str(project / ".venv" / "bin" / "my-service"), "worker"]
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                command, cwd=folder, env=clean_environment(environment), stderr=log, stdout=subprocess.DEVNULL
            )

    def log(self) -> list[dict[str, Any]]:
        """Return every complete line of the log; each of them is JSON."""
        lines = self._log.read_text(encoding="utf-8").splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def said(self, event: str) -> list[dict[str, Any]]:
        """Return the lines of one event."""
        return [line for line in self.log() if line["event"] == event]

    def started(self) -> "Worker":
        """Return it as soon as it runs jobs."""
        until(lambda: self.said("jobs_started") or self.process.poll() is not None, f"no start: {self._log}")
        assert self.process.poll() is None, self._log.read_text(encoding="utf-8")
        return self

    def kill(self) -> None:
        """Kill it as `kill -9` does."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """Ask it to end and return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


def until(condition: Callable[[], object], otherwise: str, within_s: float = 60) -> None:
    """Return as soon as the condition holds."""
    limit = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < limit, otherwise
        time.sleep(0.05)


@dataclass
class Scene:
    """A project with a database of its own, the processes that a test starts there, and what they left."""

    project: Path
    folder: Path
    url: str
    settings: Mapping[str, str] = field(default_factory=dict)
    _workers: list[Worker] = field(default_factory=list)

    @property
    def traces(self) -> Path:
        """Return the file that steps write to."""
        return self.folder / "traces"

    def environment(self, **more: str) -> dict[str, str]:
        """Return what configures the processes; a name is a setting of the jobs, or a variable in capitals."""
        given = {**self.settings, **more}
        named = {(key if key.isupper() else f"MY_SERVICE_JOBS__{key.upper()}"): value for key, value in given.items()}
        return {URL: self.url, "CHORES": str(self.traces), **named}

    def worker(self, **more: str) -> Worker:
        """Start a worker."""
        folder = self.folder / f"worker-{len(self._workers)}"
        self._workers.append(Worker(self.project, folder, self.environment(**more)))
        return self._workers[-1]

    @contextmanager
    def serving(self, name: str = "serve", **more: str) -> Iterator[Service]:
        """Run `my-service serve` for a block."""
        (self.folder / name).mkdir(exist_ok=True)
        service = Service(self.project, self.folder / name, self.environment(**more))
        try:
            yield service
        finally:
            service.process.kill()
            service.process.wait()
            if service.process.stdout is not None:
                service.process.stdout.close()

    def command(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """Run a command of the service."""
        return command(self.project, self.folder, *words, env=self.environment())

    def traced(self, word: str, after: int = 0) -> Counter[tuple[str, int]]:
        """Return how often each step did what the word says, in the lines after a number of them."""
        lines = [line.split() for line in self._lines()[after:]]
        return Counter((line[1], int(line[2])) for line in lines if line[0] == word)

    def under_way(self) -> int:
        """Return how many steps have begun and not ended."""
        words = Counter(line.partition(" ")[0] for line in self._lines())
        return words["begun"] - words["ended"]

    def _lines(self) -> list[str]:
        return self.traces.read_text(encoding="utf-8").splitlines() if self.traces.exists() else []

    def lines(self) -> int:
        """Return how many lines were traced so far."""
        return len(self._lines())

    def ticks(self) -> list[list[str]]:
        """Return the firings of the schedule: id, time, process."""
        return [line.split()[1:] for line in self._lines() if line.startswith("tick")]

    def recorded(self) -> dict[tuple[str, int], str]:
        """Return what the engine has recorded of completed steps."""
        table = "operation_outputs" if self.url.startswith("sqlite") else "dbos.operation_outputs"
        asked = f"SELECT workflow_uuid, output FROM {table} WHERE function_name = '_act'"  # noqa: S608 - a fixed name
        found = [json.loads(output) for _, output in self.ask(asked)]
        return {(one.split()[0], int(one.split()[1])): one for one in found}

    def ask(self, statement: str) -> Sequence[Any]:
        """Return the rows of a statement."""
        engine = sa.create_engine(self.url.replace("postgresql:", "postgresql+psycopg:"), poolclass=sa.NullPool)
        with engine.connect() as connection:
            return connection.execute(sa.text(statement)).all()

    def close(self) -> None:
        """End what still runs."""
        for worker in self._workers:
            with suppress(ProcessLookupError):
                worker.process.kill()
            worker.process.wait()


def jobs_of(service: Service, query: str = "name=chore") -> list[dict[str, Any]]:
    """Return the jobs that a service lists."""
    items: list[dict[str, Any]] = service.call("GET", f"/v1/jobs?size=1000&{query}").document["items"]
    return items


def all_succeeded(service: Service, count: int, within_s: float = 90) -> None:
    """Wait until so many chores have succeeded, and nothing else has become of any."""

    def succeeded() -> bool:
        answer = service.call("GET", "/v1/jobs?size=1000&name=chore")
        stands = Counter(one["status"] for one in answer.document["items"]) if answer.status == 200 else Counter()
        seen[:] = [str(dict(stands))]
        assert {"failed", "dead", "cancelled", "timed_out"}.isdisjoint(stands), stands
        return {"succeeded": count} == stands

    seen: list[str] = []
    until(succeeded, f"not all of {count}: {seen}", within_s)
