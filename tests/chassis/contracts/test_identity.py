"""Ids are short and opaque; fingerprints are canonical and refuse what has no canonical form."""

import hashlib
import json
import re
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from object_service.chassis.contracts.identity import fingerprint, new_id

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text("aé€😀"),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abé", max_size=3), inner, max_size=4),
    max_leaves=12,
)


class _Colour(StrEnum):
    RED = "red"


@pytest.mark.parametrize("prefix", ["gen", "dia", "req"])
def test_an_id_is_short_and_plain(prefix: str) -> None:
    """At most 64 characters of lower-case letters, digits and underscores, the prefix first."""
    id_ = new_id(prefix)

    assert re.fullmatch(rf"{prefix}_[a-z0-9_]+", id_)
    assert len(id_) <= 64


def test_ids_differ_and_sort_by_time() -> None:
    """Ids made in a row are all different, and their first part grows with the time."""
    ids = [new_id("gen") for _ in range(1000)]

    assert 1000 == len(set(ids))
    assert [id_[:16] for id_ in ids] == sorted(id_[:16] for id_ in ids)


def test_the_fingerprint_of_the_contract() -> None:
    """The vector in the contract comes out."""
    expected = "sha256:7c761df0fabaadc4650fd3cbdd504ddc7e8122116a15c2ebbb47f89ba350ad5e"

    assert expected == fingerprint("generate", {"prompt": "hello"}, {})


def test_the_canonical_form_is_unescaped_sorted_and_dense() -> None:
    """Anybody can compute the fingerprint of an input with non-ASCII text from the description."""
    canonical = (
        '{"input":{"audio":{"bytes":3,"sha256":"ab"},"z":"é😀"},"operation":"diarize","params":{"t":[0.5,null]},"v":1}'
    )
    expected = f"sha256:{hashlib.sha256(canonical.encode()).hexdigest()}"

    assert expected == fingerprint("diarize", {"z": "é😀", "audio": {"sha256": "ab", "bytes": 3}}, {"t": (0.5, None)})


def _reversed(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _reversed(value[key]) for key in reversed(value)}
    return [_reversed(item) for item in value] if isinstance(value, list) else value


@given(st.dictionaries(st.text("abé", max_size=3), JSON_VALUES, max_size=4))
def test_the_order_of_keys_does_not_matter(input_: dict[str, Any]) -> None:
    """Two ways to write the same question have one fingerprint, at every depth."""
    assert fingerprint("generate", input_, {}) == fingerprint("generate", _reversed(input_), {})


@given(JSON_VALUES, JSON_VALUES)
def test_different_questions_differ(one: Any, other: Any) -> None:
    """Whatever differs as JSON has another fingerprint."""
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)

    assert same == (fingerprint("generate", {"a": one}, {}) == fingerprint("generate", {"a": other}, {}))


def test_operation_input_and_params_each_count() -> None:
    """The same values in another place are another question."""
    found = {
        fingerprint("generate", {"a": 1}, {}),
        fingerprint("diarize", {"a": 1}, {}),
        fingerprint("generate", {}, {"a": 1}),
        fingerprint("generate", {"a": 1}, {"a": 1}),
    }

    assert 4 == len(found)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")], ids=["nan", "inf", "-inf"])
def test_numbers_that_are_not_finite_are_refused(number: float) -> None:
    """JSON has no form for them."""
    with pytest.raises(ValueError, match="finite numbers"):
        fingerprint("generate", {"a": [number]}, {})


@pytest.mark.parametrize(
    "value",
    [Decimal(1), datetime.now(UTC), Path("a"), b"a", {1}, object(), _Colour.RED, 1j],
    ids=lambda value: type(value).__name__,
)
def test_other_types_are_refused(value: object) -> None:
    """A value is never turned into text silently, because the text could change."""
    with pytest.raises(TypeError, match=type(value).__name__):
        fingerprint("generate", {}, {"deep": [{"a": value}]})


@pytest.mark.parametrize("key", [1, None, True, _Colour.RED], ids=["int", "None", "bool", "enum"])
def test_keys_that_are_not_text_are_refused(key: Any) -> None:
    """`{1: ...}` and `{"1": ...}` must not become one question."""
    with pytest.raises(TypeError):
        fingerprint("generate", {"a": {key: 1}}, {})
