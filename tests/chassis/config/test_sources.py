"""Every place is read as people write it, and what is not ours is left alone."""

from pathlib import Path

import pytest

from chassis.config.sources import PREFIX, Places, described
from object_service.chassis.config.section import ServiceSection
from object_service.chassis.config.sources import variable_of
from object_service.chassis.web.settings import HttpSection

INJECTED = {
    "SERVICE_HOST": "10.0.0.1",
    "SERVICE_PORT": "8000",
    "SERVICE_PORT_HTTP": "8000",
    "SERVICE_PORT_HTTPS_2": "8443",
    "PORT": "tcp://10.0.0.1:8000",
    "PORT_8000_TCP": "tcp://10.0.0.1:8000",
    "PORT_8000_TCP_PROTO": "tcp",
    "PORT_8000_TCP_PORT": "8000",
    "PORT_8000_TCP_ADDR": "10.0.0.1",
    "PORT_53_UDP_ADDR": "10.0.0.1",
    "PORT_9_SCTP": "sctp://10.0.0.1:9",
    "WORKER_SERVICE_HOST": "10.0.0.2",
    "WORKER_SERVICE_PORT": "8001",
    "WORKER_PORT": "udp://10.0.0.2:8001",
    "WORKER_PORT_8001_TCP_ADDR": "10.0.0.2",
}


def test_a_variable_is_prefix_and_path() -> None:
    """Sections and fields are joined by two underscores."""
    assert "OBJECT_SERVICE_HTTP__PORT" == variable_of(("http", "port"))


def test_foreign_names_are_ignored(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables of other programs are neither read nor reported, wherever they stand."""
    monkeypatch.setenv("OBJECT_SERVICES_HTTP__PORT", "1")
    monkeypatch.setenv("HTTP__PORT", "2")
    (places.folder / ".env").write_text("DATABASE_URL=postgres://u:p@h/d\nHTTP__PORT=3\n")
    folder = places.secrets()
    (folder / "OTHER_KEY").write_text("x")

    settings = places.load()

    assert 8000 == settings[HttpSection].port
    assert [("secrets_dir",)] == list(settings.stated)
    assert () == settings.unknown


@pytest.mark.parametrize(("name", "value"), INJECTED.items(), ids=INJECTED)
def test_what_kubernetes_injects_is_ignored(places: Places, name: str, value: str) -> None:
    """A Kubernetes service of the same name neither sets anything nor causes a warning."""
    places.environment({name: value})

    settings = places.load()

    assert ({}, ()) == (settings.stated, settings.unknown)


@pytest.mark.parametrize("name", ["HTTP__PORT", "HTTP__HOST"])
def test_settings_that_look_like_injected_ones_are_read(places: Places, name: str) -> None:
    """Two underscores make a setting, also when it ends in PORT or HOST."""
    places.environment({name: "12"})

    assert [tuple(name.lower().split("__"))] == list(places.load().stated)


@pytest.mark.parametrize("name", ["PORT", "HOST", "EXPORT_9_TPC", "SERVICE_HOSTS"])
def test_a_near_miss_of_an_injected_name_is_reported(places: Places, name: str) -> None:
    """Only what really is injected is ignored: a plain `PORT=8000` is somebody's mistake."""
    places.environment({name: "8000"})

    assert [PREFIX + name] == [unknown.variable for unknown in places.load().unknown]


def test_an_injected_url_in_a_setting_is_a_value(places: Places) -> None:
    """`HTTP__PORT=tcp://...` is a wrong value, not an injected variable."""
    places.environment(HTTP__PORT="tcp://10.0.0.1:80")

    assert [("HTTP__PORT", "environment")] == described(places.problems())


@pytest.mark.parametrize(
    "text",
    [
        "OBJECT_SERVICE_HTTP__HOST=h1\n",
        "OBJECT_SERVICE_HTTP__HOST=h1",
        "export OBJECT_SERVICE_HTTP__HOST=h1\n",
        "OBJECT_SERVICE_HTTP__HOST='h1'\n",
        'OBJECT_SERVICE_HTTP__HOST="h1"\n',
        "  OBJECT_SERVICE_HTTP__HOST = h1  # comment\n",
        "# comment\r\n\r\nOBJECT_SERVICE_HTTP__HOST=h1\r\n",
        "\ufeffOBJECT_SERVICE_HTTP__HOST=h1\n",
        "OBJECT_SERVICE_HTTP__HOST=h0\nOBJECT_SERVICE_HTTP__HOST=h1\n",
        "OBJECT_SERVICE_LOG__LEVEL\nOBJECT_SERVICE_HTTP__HOST=h1\n",
    ],
    ids=[
        "plain", "no-newline", "export", "single-quotes", "double-quotes", "spaces", "crlf", "byte-order-mark",
        "twice", "name-only",
    ],
)  # fmt: skip
def test_dotenv_files_are_read_as_people_write_them(places: Places, text: str) -> None:
    """Quotes, comments, `export`, CRLF and a byte order mark do not change a value."""
    (places.folder / ".env").write_bytes(text.encode())

    assert "h1" == places.load()[HttpSection].host


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("=hunter2\n", 1),
        ("A=1\n\n  # comment\n\n=hunter2", 5),
        ('A=1\r\n"OBJECT_SERVICE_HTTP__HOST=hunter2\r\n', 2),
        ('A="1"\nOBJECT_SERVICE_HTTP__HOST="hunter2\nB=2\n', 2),
        ("OBJECT_SERVICE_HTTP__HOST='hunter2'x\n", 1),
        ("hunter2 is no line\n", 1),
    ],
    ids=["no-name", "after-blank-lines", "quote-before-name", "unclosed-quote", "text-after-quote", "words"],
)
def test_a_line_that_nobody_can_read_is_a_problem(
    places: Places, caplog: pytest.LogCaptureFixture, text: str, line: int
) -> None:
    """A line of a dotenv file is never dropped silently: its number is named, never what stands in it."""
    (places.folder / ".env.local").write_bytes(text.encode())

    problems = places.problems()

    expected = f"expected NAME=value in line {line}; correct the line or remove it"
    assert [f".env.local (file:.env.local): {expected}"] == [str(problem) for problem in problems]
    assert [] == caplog.records


def test_every_unreadable_line_is_a_problem_among_others(places: Places) -> None:
    """The lines around them are read all the same."""
    (places.folder / ".env").write_text(f"=1\n{PREFIX}HTTP__PORT=x\n=2\n")

    problems = places.problems()

    assert [(".env", "file:.env"), (".env", "file:.env"), ("HTTP__PORT", "file:.env")] == described(problems)
    assert ["NAME=value in line 1", "NAME=value in line 3"] == [problem.expected for problem in problems[:2]]


def test_dollar_signs_in_dotenv_files_are_literal(places: Places) -> None:
    """A password with `${...}` is not expanded."""
    places.dotenv(".env", HTTP__HOST="a${HOME}b")

    assert "a${HOME}b" == places.load()[HttpSection].host


def test_an_unreadable_dotenv_file_is_a_problem_among_others(places: Places) -> None:
    """Bytes that are no UTF-8 stop the start, together with everything else that is wrong."""
    (places.folder / ".env").write_bytes(b"OBJECT_SERVICE_HTTP__HOST=\xff\xfe\n")
    places.environment(HTTP__PORT="x")

    problems = places.problems()

    assert [(".env", "file:.env"), ("HTTP__PORT", "environment")] == described(problems)
    assert ".env (file:.env): expected a readable UTF-8 file; correct the file or remove it" == str(problems[0])


@pytest.mark.parametrize("text", ["[http", 'a = "\x00"', "a = 1\na = 2"], ids=["cut", "control", "twice"])
def test_a_broken_toml_file_is_a_problem(places: Places, text: str) -> None:
    """The file is named by its variable, its content is not repeated."""
    places.toml(text)

    problems = places.problems()

    assert [("CONFIG_FILE", "environment")] == described(problems)
    assert "a valid TOML file in UTF-8" == problems[0].expected


def test_a_toml_file_that_is_no_text_is_a_problem(places: Places) -> None:
    """Bytes that are no UTF-8 are a broken file."""
    places.toml("")
    (places.folder / "settings.toml").write_bytes(b"\xff")

    assert "a valid TOML file in UTF-8" == places.problems()[0].expected


@pytest.mark.parametrize("target", ["missing.toml", "."], ids=["missing", "folder"])
def test_a_config_file_that_was_asked_for_must_be_there(places: Places, target: str) -> None:
    """A path that leads nowhere is a problem, not an empty file."""
    places.environment(CONFIG_FILE=target)

    problems = places.problems()

    assert ("a readable file", "environment") == (problems[0].expected, problems[0].source)


def test_the_place_that_names_a_missing_file_or_folder_is_told(places: Places) -> None:
    """Whoever has to correct a path learns where it stands."""
    places.dotenv(".env.local", CONFIG_FILE="missing.toml")
    places.dotenv(".env", SECRETS_DIR="nowhere")

    assert [("CONFIG_FILE", "file:.env.local"), ("SECRETS_DIR", "file:.env")] == described(places.problems())


def test_toml_knows_types_and_tables(places: Places) -> None:
    """Numbers and nested tables arrive as such; a byte order mark does no harm."""
    places.toml("\ufeff[http]\nport = 1\n[providers.stub.resilience.timeouts]\ntotal_s = 2.5")

    settings = places.load()

    assert 1 == settings[HttpSection].port
    assert 2.5 == settings.instances[0].config.resilience.timeouts.total_s


def test_secrets_are_files_named_like_variables(places: Places) -> None:
    """The line end that editors add is not part of a secret; the spaces before it are."""
    places.secrets(HTTP__HOST="a b \r\n")

    assert "a b " == places.load()[HttpSection].host


def test_secret_folders_of_kubernetes_are_read(places: Places) -> None:
    """Kubernetes mounts links into a `..data` folder, which itself is no secret."""
    folder = places.secrets()
    data = folder / "..2026_11_21"
    data.mkdir()
    (data / f"{PREFIX}HTTP__HOST").write_text("h1")
    (folder / "..data").symlink_to(data)
    (folder / f"{PREFIX}HTTP__HOST").symlink_to(Path("..data") / f"{PREFIX}HTTP__HOST")
    (folder / f"{PREFIX}FOLDER").mkdir()

    settings = places.load()

    assert "h1" == settings[HttpSection].host
    assert () == settings.unknown


def test_a_secrets_folder_that_was_asked_for_must_be_there(places: Places) -> None:
    """The default folder may be missing; another one may not."""
    places.environment(SECRETS_DIR="nowhere")

    assert [("SECRETS_DIR", "environment")] == described(places.problems())


def test_a_missing_default_secrets_folder_is_no_problem(places: Places) -> None:
    """Most machines have no `/run/secrets`."""
    assert Path("/run/secrets") == places.load()[ServiceSection].secrets_dir


def test_a_secret_that_is_no_text_is_a_problem(places: Places) -> None:
    """Bytes that are no UTF-8 are named by their folder, the readable files still count."""
    folder = places.secrets(HTTP__PORT="x")
    (folder / f"{PREFIX}LOG__LEVEL").write_bytes(b"\xff")

    assert [("HTTP__PORT", "secrets"), ("SECRETS_DIR", "environment")] == described(places.problems())


@pytest.mark.parametrize(
    ("variable", "suggestion"),
    [
        ("WEATHER__PROVDER", "WEATHER__PROVIDER"),
        ("PROVIDERS__STUB__RESILIENCE__TIMEOUT__TOTAL_S", "PROVIDERS__STUB__RESILIENCE__TIMEOUTS__TOTAL_S"),
        ("XYZ", None),
        ("", None),
        ("HTTP", None),
        ("HTTP__PORT__X", "HTTP__PORT"),
    ],
)
def test_unknown_variables_come_with_a_suggestion(places: Places, variable: str, suggestion: str | None) -> None:
    """A variable that no section has does not stop the start; the nearest one is named."""
    places.environment({variable: "x"})

    found = places.load().unknown

    assert [(PREFIX + variable, suggestion and PREFIX + suggestion)] == [(u.variable, u.did_you_mean) for u in found]


def test_unknown_names_are_found_in_every_place(places: Places) -> None:
    """Typos in files are found like those in the environment."""
    places.dotenv(".env", A="1")
    places.toml("b = 1\n[http]\nprot = 1")
    places.secrets(C="1")

    assert [f"{PREFIX}{name}" for name in ("A", "B", "C", "HTTP__PROT")] == [
        unknown.variable for unknown in places.load().unknown
    ]
