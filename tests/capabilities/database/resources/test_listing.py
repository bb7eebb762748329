"""Listing: random questions to random collections, held against the same question to a plain list."""

import json
import random
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from typing import Any

import pytest

from capabilities.database.resources.songs import FILTERS, RANGED, SORTS, Service, serving, some_songs
from object_service.chassis.contracts.json import timestamp

QUESTIONS = 40
RANGES: Mapping[str, Callable[[Any, Any], bool]] = {
    "gt": lambda held, bound: held > bound,
    "gte": lambda held, bound: held >= bound,
    "lt": lambda held, bound: held < bound,
    "lte": lambda held, bound: held <= bound,
}
WORDS = ("alice", "ÄRGER", "b", "0%", "_", "\\", "ü", "🎵", "none", "bob z", "a a")


def wire(value: Any) -> Any:
    """Return a value as callers write it."""
    if isinstance(value, datetime):
        return timestamp(value)
    return value.isoformat() if isinstance(value, date) else value


class Question:
    """A random question: its parameters, and what a plain list answers."""

    def __init__(self, chance: random.Random, rows: Sequence[Mapping[str, Any]]) -> None:
        """Ask for values that some rows have."""
        self.parameters: dict[str, Any] = {}
        found = list(rows)
        for name in chance.sample(FILTERS, chance.choice([0, 0, 1, 2])):
            found = self._filter(chance, name, rows, found)
        for name in chance.sample(RANGED, chance.choice([0, 0, 1, 2])):
            found = self._range(chance, name, rows, found)
        if chance.random() < 0.3:
            self.parameters["search"] = chance.choice(WORDS)
            for word in self.parameters["search"].lower().split():
                found = [row for row in found if any(word in (row[name] or "").lower() for name in ("title", "singer"))]
        if chance.random() < 0.3:
            self.parameters["include_deleted"] = "true"
        else:
            found = [row for row in found if row["deleted_at"] is None]
        self.expected = [int(row["id"][4:]) for row in self._sort(chance, found)]

    def _filter(self, chance: random.Random, name: str, rows: Sequence[Any], found: list[Any]) -> list[Any]:
        held = [row[name] for row in rows]
        asked = chance.choice(held)
        values = chance.sample(held, 3) if chance.random() < 0.3 else [asked]
        if name == "tags":
            values = [tag for value in values for tag in value] or ["a"]
        elif None in values:
            values = [None]
        told = [wire(value) for value in values]
        filters = json.loads(self.parameters.get("filter", "{}"))
        self.parameters["filter"] = json.dumps({**filters, name: told[0] if len(told) == 1 else told})
        if name == "tags":
            return [row for row in found if set(values) & set(row[name])]
        return [row for row in found if row[name] in values]

    def _range(self, chance: random.Random, name: str, rows: Sequence[Any], found: list[Any]) -> list[Any]:
        bound = chance.choice([row[name] for row in rows if row[name] is not None])
        operator = chance.choice(list(RANGES))
        self.parameters[f"{name}__{operator}"] = wire(bound)
        return [row for row in found if row[name] is not None and RANGES[operator](row[name], bound)]

    def _sort(self, chance: random.Random, found: list[Any]) -> list[Any]:
        keys = [(name, chance.random() < 0.5) for name in chance.sample(SORTS, chance.choice([0, 1, 1, 2, 3]))]
        if keys:
            terms = (f"{'-' if descending else chance.choice(['', '+', ' '])}{name}" for name, descending in keys)
            self.parameters["sort"] = ",".join(terms)
        for name, descending in reversed([*keys, ("id", bool(keys) and keys[-1][1])]):
            present = [row for row in found if row[name] is not None]
            absent = [row for row in found if row[name] is None]
            found = sorted(present, key=lambda row: row[name], reverse=descending) + absent
        return found


async def walked(service: Service, size: int, parameters: Mapping[str, Any]) -> list[int]:
    """Return what all keyset pages have, one after another; all but the last are full."""
    found: list[int] = []
    after = ""
    while True:
        answer = await service.get(after=after, size=size, **parameters)
        assert answer.status_code == 200, answer.text
        document = answer.json()
        found += [int(item["id"][4:]) for item in document["items"]]
        if "next" not in document:
            return found
        assert size == len(document["items"])
        after = document["next"]


@pytest.mark.parametrize("seed", range(3))
async def test_a_collection_answers_as_a_list_would(database_url: str, seed: int) -> None:
    """Filters, ranges, search and order mean the same on both engines, and pages of either sort make up the whole."""
    rows = some_songs(seed)
    chance = random.Random(seed)  # noqa: S311 - nothing secret
    async with serving(database_url, rows) as service:
        for _ in range(QUESTIONS):
            question = Question(chance, rows)
            told, size = question.parameters, chance.choice([2, 5, 7, 60])

            assert question.expected == await service.ids(size=1000, **told), told
            assert question.expected == await walked(service, size, told), (size, told)
            page = chance.randint(1, 4)
            answer = (await service.get(page=page, size=size, **told)).json()
            assert question.expected[(page - 1) * size : page * size] == [
                int(item["id"][4:]) for item in answer["items"]
            ], (page, size, told)
            assert {"page": page, "size": size, "total": len(question.expected)} == {
                name: answer[name] for name in answer if name != "items"
            }
