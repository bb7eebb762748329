"""A service with a database as its operators meet it: migrate, be ready, answer once, survive, say what is wrong."""

import asyncio
import json
import re
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import asyncpg  # type: ignore[import-untyped]  # it has no types
import pytest

from postgresql_server import PostgresqlServer, fresh_database
from rendering import FULLEST, WITH_DATABASE, Workshop, clean_environment
from serving import Answer, Service, command, running, spoken
from vendor import Vendor, instance, vendor

pytestmark = pytest.mark.gate

URL = "MY_SERVICE_DATABASE__URL"
PLANTED = "hunter22"
HEAVY = r"\b(sqlalchemy|alembic|aiosqlite|asyncpg|dbos)\b"
DONE = {"status": "ok", "chains": [{"chain": name, "current": "0001", "head": "0001"} for name in ("database", "own")]}
KEY = {"Idempotency-Key": "one"}


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresqlServer]:
    """Return a server that lets nobody in over TCP without a password."""
    with PostgresqlServer() as server:
        yield server


@pytest.fixture
def project(workshop: Workshop) -> Path:
    """Return an installed project with a database."""
    return workshop.install(WITH_DATABASE)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Return the URL of an empty database."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'data.db'}"
    else:
        with fresh_database(request.getfixturevalue("server").url()) as found:
            yield found


@pytest.fixture
def outside() -> Iterator[Vendor]:
    """Return a vendor that takes its time."""
    with vendor() as slow:
        yield slow


def _migrated(project: Path, folder: Path, url: str) -> None:
    done = command(project, folder, "migrate", env={URL: url})
    assert (0, "database: 0001, own: 0001\n", "") == (done.returncode, done.stdout, done.stderr)


def _until(service: Service, path: str, status: int, within_s: float = 20) -> Answer:
    limit = time.monotonic() + within_s
    while (answer := service.call("GET", path)).status != status and time.monotonic() < limit:
        time.sleep(0.1)
    assert status == answer.status
    return answer


def test_a_service_starts_with_migrate(project: Path, tmp_path: Path, url: str) -> None:
    """It serves before, and says that it is not ready; after `migrate` it is, without a restart."""
    check = command(project, tmp_path, "migrate", "--check", env={URL: url})
    behind = "The database is behind: database: nothing of 0001, own: nothing of 0001."
    assert (1, "", f"error: {behind} [not_migrated]\n") == (check.returncode, check.stdout, check.stderr)
    with running(project, tmp_path, {URL: url}) as service:
        _until(service, "/readyz", 503)
        answer = service.post("/v1/generations", {"prompt": "hello"})
        assert ("succeeded", ["not_kept"]) == (
            answer.document["status"],
            [warning["code"] for warning in answer.document["warnings"]],
        )
        assert (503, "storage_unavailable") == _code(service.call("GET", "/v1/envelopes/gen_1"))
        reasons = [line["error"] for line in service.log() if line["event"] == "database_unavailable"]
        assert [True] * len(reasons) == [reason.endswith("run `migrate`") for reason in reasons]

        _migrated(project, tmp_path, url)
        _until(service, "/readyz", 200)
        envelope = service.post("/v1/generations", {"prompt": "hello"}).document
        assert [] == envelope["warnings"]
        assert envelope == service.call("GET", f"/v1/envelopes/{envelope['id']}").document
        fingerprint = envelope["provenance"]["fingerprint"]
        assert {"items": [envelope]} == service.call("GET", f"/v1/envelopes?fingerprint={fingerprint}").document
        assert 0 == service.stop()
    _migrated(project, tmp_path, url)


def _code(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.code


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_migrate_speaks_json(project: Path, tmp_path: Path, url: str) -> None:
    """Each outcome as one document, with the exit code of the plain form."""
    behind = [{"chain": name, "head": "0001"} for name in ("database", "own")]
    check = command(project, tmp_path, "migrate", "--check", "--json", env={URL: url})
    found = json.loads(check.stdout)
    assert (1, "failed", "not_migrated", behind) == (
        *(check.returncode, found["status"], found["error"]["code"]),
        [{key: value for key, value in one.items() if value is not None} for one in found["chains"]],
    )
    for words in ([], ["--check"]):
        done = command(project, tmp_path, "migrate", "--json", *words, env={URL: url})
        assert (0, DONE, "") == (done.returncode, json.loads(done.stdout), done.stderr)
    down = command(project, tmp_path, "migrate", "--down", "1", env={URL: url})
    assert (0, "database: 0001, own: nothing of 0001\n") == (down.returncode, down.stdout)
    more = command(project, tmp_path, "migrate", "--down", "1", "--json", env={URL: url})
    assert (1, "migration_failed") == (more.returncode, json.loads(more.stdout)["error"]["code"])


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_several_migrate_at_once(project: Path, tmp_path: Path, url: str) -> None:
    """Whoever comes second waits and finds nothing left to do."""
    with ThreadPoolExecutor(3) as threads:
        for future in [threads.submit(_migrated, project, tmp_path, url) for _ in range(3)]:
            future.result()


def test_a_new_table_needs_three_commands(workshop: Workshop, tmp_path: Path) -> None:
    """The file that is written is accepted by the linter once it is formatted, and is all there is to write."""
    project = workshop.install(WITH_DATABASE, "new table")
    tables = project / "src" / "my_service" / "adapters" / "tables"
    recordings = (tables / "recordings.py").read_text(encoding="utf-8")
    made = recordings.replace("RecordingRow", "AlbumRow").replace('"recordings"', '"albums"')
    (tables / "albums.py").write_text(made, encoding="utf-8")
    env = {URL: f"sqlite:///{tmp_path / 'data.db'}"}
    early = command(project, tmp_path, "migrate", "--new", "albums", env=env)
    assert (1, "migrate` first. [migration_failed]\n") == (early.returncode, early.stderr[-35:])
    assert 0 == command(project, tmp_path, "migrate", env=env).returncode
    new = command(project, tmp_path, "migrate", "--new", "albums", "--json", env=env)
    path = Path(json.loads(new.stdout)["path"])
    assert (0, "v0002_albums.py") == (new.returncode, path.name)
    for words in (["format"], ["check"]):
        subprocess.run([project / ".venv" / "bin" / "ruff", *words, "--quiet", path], cwd=project, check=True)
    done = command(project, tmp_path, "migrate", env=env)
    assert (0, "database: 0001, own: 0002\n", "") == (done.returncode, done.stdout, done.stderr)
    again = command(project, tmp_path, "migrate", "--new", "nothing", env=env)
    assert "op." not in Path(again.stdout.splitlines()[0]).read_text(encoding="utf-8")


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_an_answer_outlives_the_service(project: Path, tmp_path: Path, url: str) -> None:
    """A repeated request gets the answer of a process that has ended; another request does not."""
    _migrated(project, tmp_path, url)
    answers = []
    for _ in range(2):
        with running(project, tmp_path, {URL: url}) as service:
            answers.append(service.post("/v1/generations", {"prompt": "hello"}, KEY))
            assert (422, "invalid_request") == _code(service.post("/v1/generations", {"prompt": "other"}, KEY))
            assert 0 == service.stop()
    assert [None, "true"] == [answer.headers.get("idempotency-replayed") for answer in answers]
    assert (200, answers[0].body) == (answers[1].status, answers[1].body)


def test_a_killed_service_leaves_no_claim(project: Path, tmp_path: Path, url: str, outside: Vendor) -> None:
    """After `kill -9` in the middle of a request its repeat waits for the lease, and is then served."""
    _migrated(project, tmp_path, url)
    slow = instance("slow", outside.url, "slow", "key") | {URL: url, "MY_SERVICE_DATABASE__LEASE_S": "2"}
    document = {"prompt": "hello", "provider": "slow"}
    with running(project, tmp_path, slow) as service, ThreadPoolExecutor(1) as threads:
        request = threads.submit(service.post, "/v1/generations", document, KEY)
        while not outside.asked:
            time.sleep(0.01)
        assert (409, "conflict") == _code(service.post("/v1/generations", document, KEY))
        service.process.kill()
        assert isinstance(request.exception(), OSError)
    with running(project, tmp_path, slow) as service:
        limit = time.monotonic() + 20
        while (answer := service.post("/v1/generations", document, KEY)).status == 409 and time.monotonic() < limit:
            time.sleep(0.1)
        assert (200, "olleh") == (answer.status, answer.document["result"]["text"])
    assert 2 == len(outside.asked)


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_long_work_of_a_killed_service_has_failed(project: Path, tmp_path: Path, url: str) -> None:
    """What was finished reads as it was; what the process was at work on reads as interrupted after the lease."""
    _migrated(project, tmp_path, url)
    env = {URL: url, "MY_SERVICE_DATABASE__LEASE_S": "1"}
    with running(project, tmp_path, env) as service:
        done = service.finished(service.upload(spoken(2)).document["id"])
        left = service.upload(spoken(1800)).document["id"]
        service.process.kill()
    time.sleep(1.2)
    with running(project, tmp_path, env) as service:
        assert done == service.call("GET", f"/v1/diarizations/{done['id']}").document
        found = service.call("GET", f"/v1/diarizations/{left}").document
        assert ("failed", "interrupted") == (found["status"], found["error"]["code"])


def test_postgresql_may_be_killed(project: Path, tmp_path: Path) -> None:
    """The service answers 503 meanwhile, and goes on by itself when the server is back."""
    with PostgresqlServer() as server, running(project, tmp_path, {URL: server.url()}) as service:
        _migrated(project, tmp_path, server.url())
        _until(service, "/readyz", 200)
        server.kill()
        assert (503, "storage_unavailable") == _code(service.post("/v1/generations", {"prompt": "a"}, KEY))
        _until(service, "/readyz", 503)
        assert 200 == service.post("/v1/generations", {"prompt": "a"}).status
        server.start()
        assert 200 == service.post("/v1/generations", {"prompt": "a"}, KEY).status
        _until(service, "/readyz", 200)


UNUSABLE = {
    "folder missing": ("sqlite:///{folder}/nowhere/data.db", "unable to open database file"),
    "no database": ("sqlite:///{folder}/notes.txt", "file is not a database"),
    "port refused": (f"postgresql://app:{PLANTED}@127.0.0.1:1/name", "Connect call failed"),
    "host unknown": (f"postgresql://app:{PLANTED}@no-such-host.invalid/name", "not known"),
    "no such role": (f"postgresql://app:{PLANTED}@127.0.0.1:{{port}}/postgres", 'role "app" does not exist'),
    "no such database": (f"postgresql://postgres:{PLANTED}@127.0.0.1:{{port}}/gone", 'database "gone" does not exist'),
    "no right to create": ("postgresql://visitor@127.0.0.1:{port}/postgres", "permission denied"),
    "wrong password": (f"postgresql://locked:{PLANTED}@127.0.0.1:{{port}}/postgres", "password authentication failed"),
}


@pytest.mark.parametrize("capability", ["database", "jobs"])
@pytest.mark.parametrize("case", UNUSABLE)
def test_what_cannot_be_reached_is_one_line(
    workshop: Workshop, tmp_path: Path, server: PostgresqlServer, case: str, capability: str
) -> None:
    """`migrate` says in one line what is in the way: no trace, no secret, exit code 1."""
    project = workshop.install(WITH_DATABASE if capability == "database" else FULLEST)
    template, reason = UNUSABLE[case]
    (tmp_path / "notes.txt").write_text("remember the milk " * 100, encoding="utf-8")
    if case == "wrong password":
        asyncio.run(_lock(server, "locked"))
    if case == "no right to create":
        asyncio.run(_invite(server, "visitor"))
    code = "migration_failed" if (case, capability) == ("no right to create", "database") else "storage_unavailable"
    url = template.format(folder=tmp_path, port=server.port)
    done = command(project, tmp_path, "migrate", "--json", env={URL: url})
    assert 1 == done.returncode
    assert re.fullmatch(rf"error: .*{re.escape(reason)}.* \[{code}\]\n", done.stderr), done.stderr
    assert code == json.loads(done.stdout)["error"]["code"]
    assert PLANTED not in done.stdout + done.stderr


async def _invite(server: PostgresqlServer, role: str, password: str = "") -> None:
    """Have a role that may read, and make nothing."""
    connection = await asyncpg.connect(server.url())
    await connection.execute(f"DROP ROLE IF EXISTS {role}")
    await connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{password}'")
    await connection.execute("SELECT pg_reload_conf()")
    await connection.close()


async def _lock(server: PostgresqlServer, role: str) -> None:
    """Have a role need a password."""
    rules = server.folder / "data" / "pg_hba.conf"
    rest = rules.read_text(encoding="utf-8")
    rules.write_text(f"host all {role} 127.0.0.1/32 scram-sha-256\n{rest}", encoding="utf-8")
    await _invite(server, role, "right")


def test_the_settings_show_no_password(project: Path, tmp_path: Path) -> None:
    """`config show` has the URL without its password; a URL that cannot be used is refused with exit code 78."""
    env = {URL: f"postgresql://app:{PLANTED}@db/app?sslmode=require"}
    for words in ((), ("--json",)):
        shown = command(project, tmp_path, "config", "show", *words, env=env)
        assert (0, False) == (shown.returncode, PLANTED in shown.stdout + shown.stderr)
        assert "postgresql://app:********@db/app?sslmode=require" in shown.stdout
    refused = command(project, tmp_path, "migrate", env={URL: f"postgresql://app:{PLANTED}@db:no/app"})
    first, *others = refused.stderr.splitlines()
    assert (78, "configuration: 1 problem", 1) == (refused.returncode, first, len(others))
    assert others[0].startswith(f"{URL} (environment): expected sqlite:///file.db or postgresql://user:password@host")
    assert PLANTED not in refused.stderr


@pytest.mark.parametrize(
    "words", [["--help"], ["config", "show"], ["config", "check"], ["migrate", "--help"]], ids=" ".join
)
def test_what_needs_no_database_does_not_load_one(project: Path, tmp_path: Path, words: list[str]) -> None:
    """Neither the libraries of the database nor a file of it: the command line stays quick."""
    done = subprocess.run(
        [project / ".venv" / "bin" / "python", "-X", "importtime", "-m", "my_service", *words],
        cwd=tmp_path,
        env=clean_environment({}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert 0 == done.returncode, done.stderr[-2000:]
    assert "my_service.capabilities.database.settings" in done.stderr
    assert [] == [line for line in done.stderr.splitlines() if re.search(HEAVY, line.rpartition("|")[2])]
    assert [] == list(tmp_path.iterdir())
