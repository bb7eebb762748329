"""Envelopes: whatever was kept is read again as it was, and what has ended stays ended."""

import asyncio
import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert

from capabilities.database.conftest import OpenStore
from capabilities.database.samples import (
    CREATED,
    DIARIZED,
    FAILED,
    FINGERPRINT,
    GENERATED,
    PENDING,
    PLAIN,
    RUNNING,
    SAMPLES,
)
from capabilities.database.stored import TABLE, change_rows, row_of
from object_service.capabilities.database.database import Database
from object_service.capabilities.database.envelopes import DatabaseStore
from object_service.capabilities.database.upcasting import UnknownVersionError, upcast
from object_service.chassis.contracts.envelope import Envelope
from object_service.chassis.contracts.errors import ServiceError, StorageUnavailableError
from object_service.chassis.contracts.json import to_json
from object_service.domain.diarization import Diarization
from object_service.domain.genai import FinishReason, Generation

GOLDEN = sorted((Path(__file__).parent / "golden").glob("v*.json"))


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("compress_over_bytes", [0, 10**6], ids=["compressed", "plain"])
async def test_an_envelope_is_read_as_it_was_kept(
    open_store: OpenStore, name: str, compress_over_bytes: int, database: Database
) -> None:
    """Every status and every result survives the way there and back, in its types and as JSON."""
    envelope, result = SAMPLES[name]
    store = open_store(compress_over_bytes=compress_over_bytes)
    await store.save(envelope)
    row = await row_of(database, envelope.id)
    assert (compress_over_bytes == 0, compress_over_bytes > 0) == (
        row["packed"] is not None,
        row["document"] is not None,
    )
    found = await store.load(envelope.id, result, of=envelope.provenance.object)
    assert envelope == found
    assert repr(getattr(envelope, "result", None)) == repr(getattr(found, "result", None))
    document = await store.document(envelope.id)
    assert json.dumps(to_json(envelope)) == json.dumps(document)
    assert (CREATED, envelope.status, "1", FINGERPRINT) == (
        *(row["created_at"], row["status"], row["schema_version"], row["fingerprint"]),
    )


@pytest.mark.parametrize("file", GOLDEN, ids=lambda file: file.stem)
async def test_what_an_older_release_kept_is_read(database: Database, store: DatabaseStore, file: Path) -> None:
    """Documents of every released schema version stay readable for ever; their files are never changed."""
    document = json.loads(await asyncio.to_thread(file.read_text, encoding="utf-8"))
    expected, result = SAMPLES[file.stem.partition("_")[2]]
    row = {"id": document["id"], "object": document["provenance"]["object"], "status": document["status"]}
    row |= {"fingerprint": FINGERPRINT, "schema_version": document["schema_version"]}
    async with database.writing() as connection:
        await connection.execute(insert(TABLE).values(**row, document=document, created_at=CREATED, updated_at=CREATED))
    assert expected == await store.load(expected.id, result, of=expected.provenance.object)
    assert to_json(expected) == await store.document(expected.id)


def test_every_sample_has_a_golden_file() -> None:
    """The first version is complete."""
    assert {f"v1_{name}" for name in SAMPLES} <= {file.stem for file in GOLDEN}


async def test_long_documents_are_compressed(open_store: OpenStore, database: Database) -> None:
    """The limit counts bytes of JSON; what is longer takes less room and reads the same."""
    text = "word " * 20_000
    long = replace(GENERATED, result=Generation(text, FinishReason.STOP))
    exact = len(json.dumps(to_json(long), ensure_ascii=False, separators=(",", ":")).encode())
    await open_store(compress_over_bytes=exact).save(long)
    assert (await row_of(database, long.id))["packed"] is None
    store = open_store(compress_over_bytes=exact - 1)
    long = replace(long, id="gen_l")
    await store.save(long)
    row = await row_of(database, long.id)
    assert (None, True) == (row["document"], len(row["packed"]) < exact / 50)
    assert long == await store.load(long.id, Generation, of="genai")


@pytest.mark.parametrize("id_", ["dia_9", "", "DIA_3", "dia_3\0", "x" * 65, "dia_3'--", "gen_1"], ids=repr)
async def test_what_is_not_known_is_not_found(store: DatabaseStore, id_: str) -> None:
    """Nor is the envelope of another object, or an id that no envelope can have."""
    await store.save(DIARIZED)
    await store.save(GENERATED)
    assert await store.load(id_, Diarization, of="diarization") is None
    assert (id_ != "gen_1") == (await store.document(id_) is None)


@pytest.mark.parametrize("ended", [DIARIZED, FAILED], ids=["succeeded", "failed"])
async def test_what_has_ended_is_not_opened_again(store: DatabaseStore, ended: Envelope[Diarization]) -> None:
    """A late word of progress changes nothing; the envelope on the way there replaced each other."""
    pending = replace(PENDING, id=ended.id)
    for envelope in (pending, replace(RUNNING, id=ended.id), ended):
        await store.save(envelope)
        assert envelope == await store.load(ended.id, Diarization, of="diarization")
    for late in (pending, replace(RUNNING, id=ended.id)):
        await store.save(late)
        assert ended == await store.load(ended.id, Diarization, of="diarization")


STATES: dict[str, Envelope[Any]] = {
    "pending": replace(PENDING, id="dia_1"),
    "running": replace(RUNNING, id="dia_1"),
    "failed": replace(FAILED, id="dia_1"),
    "succeeded": replace(DIARIZED, id="dia_1"),
}
REPLACES = {
    "pending": set[str](),
    "running": {"pending", "running"},
    "failed": {"pending", "running", "failed"},
    "succeeded": {"pending", "running", "failed"},
}


@pytest.mark.parametrize("new", STATES)
@pytest.mark.parametrize("old", STATES)
async def test_an_envelope_replaces_what_says_less(store: DatabaseStore, old: str, new: str) -> None:
    """Work that failed may be tried again and succeed; nothing else is taken back."""
    first = STATES[old]
    second = replace(STATES[new], provenance=replace(STATES[new].provenance, correlation_id="second"))
    await store.save(first)
    await store.save(second)
    expected = second if old in REPLACES[new] else first
    assert expected == await store.load("dia_1", Diarization, of="diarization")


async def test_many_are_kept_at_once(store: DatabaseStore) -> None:
    """Whoever saves the same and other envelopes at the same moment, each is there, and the end wins."""
    ids = [f"dia_{number}" for number in range(20)]
    saves = [store.save(replace(envelope, id=id_)) for id_ in ids for envelope in (PENDING, DIARIZED, RUNNING)]
    await asyncio.gather(*saves)
    found = [await store.load(id_, Diarization, of="diarization") for id_ in ids]
    assert [replace(DIARIZED, id=id_) for id_ in ids] == found


async def test_envelopes_are_found_by_what_was_asked(store: DatabaseStore) -> None:
    """The newest come first, at most 100, and only those of the same question."""
    for number in range(102):
        created = CREATED + timedelta(seconds=number)
        await store.save(replace(PLAIN, id=f"gen_{number}", provenance=replace(PLAIN.provenance, created_at=created)))
    await store.save(replace(PLAIN, id="gen_o", provenance=replace(PLAIN.provenance, fingerprint="sha256:other")))
    found = [document["id"] for document in await store.documents(FINGERPRINT)]
    assert [f"gen_{number}" for number in range(101, 1, -1)] == found
    assert [] == await store.documents("sha256:unknown")


async def test_an_unknown_version_is_named(store: DatabaseStore, database: Database) -> None:
    """What newer code has written is not guessed at."""
    await store.save(PLAIN)
    await change_rows(database, document={**(await row_of(database, PLAIN.id))["document"], "schema_version": "2"})
    with pytest.raises(StorageUnavailableError, match=r"gen_2: .* has schema version '2'; expected '1'") as caught:
        await store.load(PLAIN.id, Generation, of="genai")
    assert ("Another version", True) == (caught.value.user_message[:15], caught.value.retryable)


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param({"packed": b"\x01garbage"}, id="no-zlib"),
        pytest.param({"packed": b"\x00{"}, id="no-json"),
        pytest.param({"packed": b"\x00\xff"}, id="no-text"),
        pytest.param({"document": {"schema_version": "2"}}, id="newer"),
    ],
)
async def test_what_cannot_be_read_hides_nothing_else(
    store: DatabaseStore, database: Database, caplog: pytest.LogCaptureFixture, damage: dict[str, Any]
) -> None:
    """It is a failure with a code where it is asked for, and left out, with a line in the log, of what is listed."""
    await store.save(PLAIN)
    await change_rows(database, **damage)
    await store.save(replace(PLAIN, id="gen_whole"))

    with pytest.raises(ServiceError) as caught:
        await store.document(PLAIN.id)
    listed = await store.documents(FINGERPRINT)

    assert caught.value.code == ("storage_unavailable" if "document" in damage else "internal_error")
    assert ["gen_whole"] == [document["id"] for document in listed]
    (line,) = [record for record in caplog.records if record.message == "envelope_unreadable"]
    assert PLAIN.id == vars(line)["envelope_id"]


def test_upcasters_lead_from_version_to_version() -> None:
    """Each makes a document of the next version, in their order; the stored one is left as it is."""
    stored: dict[str, Any] = {"schema_version": "1", "a": 1}
    line = {
        "1": lambda document: {**document, "schema_version": "2", "b": document.pop("a") + 1},
        "2": lambda document: {**document, "schema_version": "3", "c": document["b"] + 1},
    }
    assert {"schema_version": "3", "b": 2, "c": 3} == {
        key: value for key, value in upcast(stored, line, "3").items() if key != "a"
    }
    assert {"schema_version": "1", "a": 1} == stored
    newest: dict[str, Any] = {"schema_version": "3"}
    assert newest == upcast(newest, line, "3")


@pytest.mark.parametrize(
    ("document", "line"),
    [
        ({"schema_version": "0"}, {}),
        ({}, {}),
        ({"schema_version": "1"}, {"1": lambda document: document}),
        ({"schema_version": "1"}, {"1": lambda _: {"schema_version": "2"}, "2": lambda _: {"schema_version": "1"}}),
    ],
    ids=["unknown", "none", "standing still", "in a circle"],
)
def test_a_line_of_upcasters_that_leads_nowhere_ends(document: dict[str, Any], line: dict[str, Any]) -> None:
    """A defect among the upcasters is an error, and no loop."""
    with pytest.raises(UnknownVersionError):
        upcast(document, line, "3")
