"""Settings of the database: every form of a URL that is taken, and one clear line for any other."""

import re

import pytest
from pydantic import ValidationError

from object_service.capabilities.database import FEATURE
from object_service.capabilities.database.settings import DatabaseSection
from object_service.chassis.config.section import ConfigurationError
from object_service.chassis.redaction import MASK, redact_text
from object_service.chassis.runtime import Runtime

ACCEPTED = {
    "sqlite:///data.db": "sqlite+aiosqlite:///data.db",
    "sqlite:////var/lib/data.db": "sqlite+aiosqlite:////var/lib/data.db",
    "sqlite+aiosqlite:///a%20b.db": "sqlite+aiosqlite:///a%20b.db",
    "postgresql://host/name": "postgresql+asyncpg://host/name",
    "postgres://u:p@host:5432/name": "postgresql+asyncpg://u:p@host:5432/name",
    "postgresql+asyncpg://u@[::1]:5432/name": "postgresql+asyncpg://u@[::1]:5432/name",
    "postgresql://u:a/b#c?d%40@host/name": "postgresql+asyncpg://u:a/b#c?d%40@host/name",
    "postgresql://u@/name?host=/run/postgresql&port=5433": (
        "postgresql+asyncpg://u@/name?host=/run/postgresql&port=5433"
    ),
    "postgresql://u:p@host/name?sslmode=require": "postgresql+asyncpg://u:p@host/name?ssl=require",
    "postgresql://u:sslmode=@host/name?ssl=require": "postgresql+asyncpg://u:sslmode=@host/name?ssl=require",
}
REFUSED = {
    "another engine": "mysql://u:hunter22@host/name",
    "no scheme": "host/name",
    "SQLite in memory": "sqlite://",
    "SQLite in memory by name": "sqlite:///:memory:",
    "SQLite without a file": "sqlite:///",
    "SQLite with two slashes": "sqlite://data.db",
    "SQLite by URI": "sqlite:///file:data.db?uri=true",
    "SQLite with options": "sqlite:///data.db?mode=ro",
    "another driver": "postgresql+psycopg://u:hunter22@host/name",
    "no host": "postgresql:///name",
    "a port that is no number": "postgresql://u:hunter22@host:port/name",
    "a port that does not exist": "postgresql://u:hunter22@host:65536/name",
    "an @ in the password": "postgresql://u:hunter22@x@host/name",
    "half an address": "postgresql://u:hunter22@[::1/name",
    "an option of another driver": "postgresql://u:hunter22@host/name?channel_binding=require",
    "a line too many": "sqlite:///data.db\npostgresql://u:hunter22@host/name",
}


@pytest.mark.parametrize(("url", "address"), ACCEPTED.items(), ids=list(ACCEPTED))
def test_urls_of_both_engines_are_taken(url: str, address: str) -> None:
    """A URL names the engine and the place; which driver is used is not its business."""
    section = DatabaseSection(url=url)
    assert (address, "sqlite" if "sqlite" in address else "postgresql") == (section.address, section.dialect)


@pytest.mark.parametrize("case", [case for case in REFUSED if "line" not in case])
def test_any_other_url_is_one_clear_line(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A URL that cannot be used is a configuration problem that says what is expected, and never repeats the URL."""
    monkeypatch.setenv("OBJECT_SERVICE_DATABASE__URL", REFUSED[case])
    with pytest.raises(ConfigurationError) as caught:
        Runtime((FEATURE,)).load()
    head, *problems = str(caught.value).splitlines()
    assert ("configuration: 1 problem", 1) == (head, len(problems))
    start = "OBJECT_SERVICE_DATABASE__URL (environment): expected sqlite:///file.db or postgresql://user:password@host"
    assert problems[0].startswith(start)
    assert re.search("hunter22|expected expected", problems[0]) is None


def test_a_url_is_one_line() -> None:
    """Nothing hides behind the end of a line."""
    with pytest.raises(ValidationError):
        DatabaseSection(url="postgresql://host/name\nmore?x=1")


def test_the_default_is_a_file_named_like_the_service() -> None:
    """Without settings the data lie in a file of the current folder."""
    section = DatabaseSection()
    assert ("sqlite", "sqlite:///object-service.db") == (section.dialect, section.url)


@pytest.mark.parametrize("url", ["postgresql://u:hunter22@host/name", "postgresql://u:hunt/er22#?@host/name"])
def test_the_password_does_not_show(url: str) -> None:
    """Neither the settings as text nor a line of the log shows the password of the URL."""
    assert "hunt" not in repr(DatabaseSection(url=url))
    assert f"postgresql://u:{MASK}@host/name" == redact_text(url)


@pytest.mark.parametrize(
    "values",
    [{"pool_connections": 0}, {"pool_wait_s": 0}, {"lease_s": 0}, {"retention_days": -1}, {"compress_over_bytes": -1}],
    ids=lambda values: next(iter(values)),
)
def test_limits_are_positive(values: dict[str, float]) -> None:
    """A limit of nothing would stop the service; compressing everything is fine."""
    with pytest.raises(ValidationError):
        DatabaseSection.model_validate(values)
    assert 0 == DatabaseSection(compress_over_bytes=0).compress_over_bytes
