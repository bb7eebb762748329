"""Commands around API keys: make one, remove one, see which end soon."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from ..auth.keys import Key, KeysFileError, digest, held, new_secret, read, write
from ..auth.settings import AuthSection
from ..config.sources import variable_of
from ..contracts.envelope import Failure
from ..contracts.json import timestamp
from .session import EXIT_CONFIGURATION, EXIT_FAILED, AsJson, Session, print_result

_SHOWN_CHARS = len("sha256:") + 12
File = Annotated[Path | None, typer.Option("--file", help="File of keys; by default the one of AUTH__KEYS_FILE.")]
Id = Annotated[str, typer.Argument(help="Whose key it is; the same for the next key of the same caller.")]


def register(app: typer.Typer, session: Session) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, help="Make, remove and check API keys.", rich_markup_mode=None)
    app.add_typer(group, name="keys")
    _register_new(group, session)
    _register_remove(group, session)
    _register_check(group, session)


def _register_new(group: typer.Typer, session: Session) -> None:

    @group.command()
    def new(
        id_: Id,
        scope: Annotated[
            list[str] | None, typer.Option(help="What the key may do, such as ops; again for more.")
        ] = None,
        days: Annotated[int | None, typer.Option(min=1, max=36500, help="After how many days the key ends.")] = None,
        file: File = None,
        as_json: AsJson = False,  # noqa: FBT002 - a flag of the command line
    ) -> None:
        """Print a new key, once; the file gets its digest, and keeps the keys that it has."""
        path = _path(session, file)
        secret = new_secret()
        ends = None if days is None else datetime.now(UTC).replace(microsecond=0) + timedelta(days=days)
        try:
            key = Key(id_, digest(secret), tuple(dict.fromkeys(scope or ())), ends)
        except KeysFileError as error:
            session.fail(Failure("invalid_key", f"{id_}: {error}", retryable=False))
        with held(path):
            keys = _read(session, path) if path.exists() and path.stat().st_size else ()
            _write(session, path, [*keys, key])
        if not as_json:
            typer.echo(f"{_line(key)}; the key is shown this once:", err=True)
        print_result({"key": secret, **_document(key)}, secret, as_json=as_json)


def _register_remove(group: typer.Typer, session: Session) -> None:

    @group.command()
    def remove(
        id_: Id,
        hash_: Annotated[str | None, typer.Option("--hash", help="Only the key whose digest begins so.")] = None,
        keep_newest: Annotated[  # noqa: FBT002 - a flag of the command line
            bool, typer.Option("--keep-newest", help="All but the key that was made last.")
        ] = False,
        file: File = None,
        as_json: AsJson = False,  # noqa: FBT002 - as above
    ) -> None:
        """Remove keys of one caller; a running service refuses them within a second or two."""
        path = _path(session, file)
        with held(path):
            keys = _read(session, path)
            own = [key for key in keys if key.id == id_]
            gone = [key for key in own if _begins(key, hash_)] if hash_ is not None else own
            gone = [key for key in gone if key is not own[-1]] if keep_newest else gone
            if not gone:
                session.fail(Failure("not_found", f"No such key of {id_} is in {path}.", retryable=False))
            _write(session, path, [key for key in keys if key not in gone])
        text = "\n".join(f"removed {_line(key)}" for key in gone)
        print_result({"removed": [_document(key) for key in gone]}, text, as_json=as_json)


def _register_check(group: typer.Typer, session: Session) -> None:

    @group.command()
    def check(
        within_days: Annotated[int, typer.Option(min=0, help="What counts as soon.")] = 14,
        file: File = None,
        as_json: AsJson = False,  # noqa: FBT002 - a flag of the command line
    ) -> None:
        """Say of every key whether it is valid; exit with 1 when one has ended or ends soon."""
        now = datetime.now(UTC)
        found = [(key, _state(key, now, timedelta(days=within_days))) for key in _read(session, _path(session, file))]
        document = {"keys": [{**_document(key), "status": state} for key, state in found]}
        text = "\n".join(f"{state:<8} {_line(key)}" for key, state in found) or "no keys"
        print_result(document, text, as_json=as_json)
        if any(state != "valid" for _, state in found):
            raise typer.Exit(EXIT_FAILED)


def _state(key: Key, now: datetime, soon: timedelta) -> str:
    if key.expired(now):
        return "expired"
    return "soon" if key.expired(now + soon) else "valid"


def _path(session: Session, file: Path | None) -> Path:
    path = file or session.load()[AuthSection].keys_file
    if path is None:
        text = f"No file of keys is named; set {variable_of(('auth', 'keys_file'))}, or give --file."
        session.fail(Failure("invalid_configuration", text, retryable=False), EXIT_CONFIGURATION)
    return path


def _read(session: Session, path: Path) -> Sequence[Key]:
    try:
        return read(path)
    except KeysFileError as error:
        session.fail(Failure("unusable_keys", f"{path}: {error}.", retryable=False))


def _write(session: Session, path: Path, keys: Sequence[Key]) -> None:
    try:
        write(path, keys)
    except KeysFileError as error:
        session.fail(Failure("unusable_keys", f"{path}: {error}.", retryable=False))


def _begins(key: Key, start: str) -> bool:
    return bool(start) and (key.hash.startswith(start) or key.hash.partition(":")[2].startswith(start))


def _document(key: Key) -> dict[str, Any]:
    ends = {} if key.not_after is None else {"not_after": timestamp(key.not_after)}
    return {"id": key.id, "hash": key.hash, "scopes": list(key.scopes), **ends}


def _line(key: Key) -> str:
    ends = "for ever" if key.not_after is None else f"until {key.not_after.astimezone(UTC):%Y-%m-%d %H:%M}Z"
    return f"{key.id} {key.hash[:_SHOWN_CHARS]} {' '.join(key.scopes) or 'without scopes'} {ends}"
