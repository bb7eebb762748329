"""What is relied on of DBOS beyond its promises: these tests fail when a new version changes any of it."""

import inspect
import re
import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from dbos import DBOSClient, WorkflowStatus
from dbos import error as engine_errors
from dbos._sys_db import SystemDatabase, WorkflowStatusString

import object_service
from object_service.capabilities.database.settings import DatabaseSection
from object_service.capabilities.jobs import internals
from object_service.capabilities.jobs.engine import SCHEMA, open_client, open_engine
from object_service.capabilities.jobs.records import ENGINE_STATUS
from tools import ROOT

_RANGE = "dbos>=3.4,<4"
_PRIVATE = re.compile(r"(?:from|import) dbos\._|\b_sys_db\b|dbos\.[a-z.]*\b_[a-z]")


def test_the_version_is_one_that_was_looked_at() -> None:
    """The range of versions is the same in the product and in its tests, and what is installed is in it."""
    for file in (ROOT / "template" / "pyproject.toml.jinja", ROOT / "pyproject.toml"):
        assert f'"{_RANGE}"' in file.read_text(encoding="utf-8")
    assert [3, 4] <= [int(part) for part in version("dbos").split(".")[:2]] < [4, 0]
    assert "dev" in tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["dependency-groups"]


def test_one_module_reaches_behind_the_promises() -> None:
    """No other module of the capability names what DBOS keeps to itself."""
    folder = Path(object_service.__file__).parent / "capabilities" / "jobs"
    found = {file.name for file in folder.glob("*.py") if _PRIVATE.search(file.read_text(encoding="utf-8"))}
    assert {"internals.py"} == found


@pytest.mark.parametrize(
    ("method", "parameters"),
    [
        ("run_migrations", ["self"]),
        ("verify_migrations", ["self"]),
        ("reenqueue_for_recovery", ["self", "workflow_id", "executor_ids", "recovery_queue_name"]),
        ("await_workflow_result_async", ["self", "workflow_id", "polling_interval", "fail_if_missing"]),
    ],
    ids=["migrate", "verify", "hand-over", "result"],
)
def test_private_calls_have_the_form_that_is_used(method: str, parameters: list[str]) -> None:
    """Each has its name and its parameters, for every engine."""
    for cls in (SystemDatabase, *SystemDatabase.__subclasses__()):
        assert parameters == list(inspect.signature(getattr(cls, method)).parameters), cls


def test_a_hand_over_asks_for_the_owner_and_takes_the_token_away() -> None:
    """The one statement compares status and executor, and leaves the former run without the right to record."""
    source = inspect.getsource(SystemDatabase.reenqueue_for_recovery)
    for part in ("PENDING.value", "executor_id.in_(executor_ids)", "owner_xid=None", "rowcount > 0"):
        assert part in source


def test_trying_again_writes_what_resuming_does() -> None:
    """The same columns are set to the same values, beside the condition that is ours."""
    written = inspect.getsource(SystemDatabase.resume_workflows).split(".values(")[1]
    columns = set(re.findall(r"^\s+(\w+)=", written, re.MULTILINE))
    ours = inspect.getsource(internals.try_again)
    assert {name for name in columns if f'"{name}"' in ours} == columns
    assert {"status", "queue_name", "recovery_attempts", "owner_xid", "completed_at"} <= columns


def test_the_client_has_its_engine() -> None:
    """The way to the private calls is there before anything is connected."""
    engine = open_engine(DatabaseSection(url="sqlite:///unused.db"))
    client = open_client(engine)
    found: Any = client._sys_db
    assert isinstance(found, SystemDatabase)
    assert isinstance(client, DBOSClient)


def test_the_tables_of_dbos_are_told_from_those_of_the_service(engine: sa.Engine) -> None:
    """Migrations of the owner see none of them: on SQLite by their names, on PostgreSQL in a schema of their own."""
    made = {name for name in sa.inspect(engine).get_table_names() if not name.startswith("template_")}
    if engine.dialect.name == "sqlite":
        assert {"workflow_status", "operation_outputs", "dbos_migrations"} <= made <= internals.TABLES
    else:
        assert set() == made
        assert {"workflow_status", "operation_outputs"} <= set(sa.inspect(engine).get_table_names(schema=SCHEMA))


def test_migrating_twice_and_before_migrating(database_url: str) -> None:
    """Before, what is missing is said; migrating is safe to repeat; afterwards nothing is missing."""
    engine = open_engine(DatabaseSection(url=database_url), connections=2)
    try:
        client = open_client(engine)
        assert "migrat" in (internals.behind(client) or "")
        internals.migrate_engine(engine)
        internals.migrate_engine(engine)
        assert internals.behind(client) is None
    finally:
        engine.dispose()


def test_every_status_is_known() -> None:
    """The engine has no status that a record could not tell."""
    assert set(ENGINE_STATUS.values()) == {one.value for one in WorkflowStatusString}


def test_records_have_what_is_read() -> None:
    """The fields of a job that are read exist."""
    read = (
        "workflow_id status name queue_name recovery_attempts created_at delay_until_epoch_ms dequeued_at completed_at"
    )
    more = "attributes parent_workflow_id output error workflow_deadline_epoch_ms executor_id input"
    assert {*read.split(), *more.split()} <= set(WorkflowStatus.__annotations__)


def test_the_errors_that_are_told_apart_exist() -> None:
    """An id that is not known, attempts that are used up and tables that are behind are errors of their own."""
    names = ("DBOSNonExistentWorkflowError", "DBOSMaxStepRetriesExceeded", "DBOSInitializationError")
    assert all(issubclass(getattr(engine_errors, name), Exception) for name in names)
