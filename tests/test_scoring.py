"""The scores themselves are right on cases small enough to check by hand."""

import pytest

from scoring import activity_error, diarization_error

REFERENCE = [(0.0, 2.0, "a"), (3.0, 5.0, "b")]


def test_a_perfect_answer_has_no_error() -> None:
    """Names do not matter, only who is the same."""
    found = [(0.0, 2.0, "S1"), (3.0, 5.0, "S2")]
    assert diarization_error(REFERENCE, found, 10.0) == 0.0
    assert activity_error(REFERENCE, found, 10.0).worst == 0.0


def test_missed_and_false_speech_both_count() -> None:
    """One second missed and one second invented are two wrong seconds of ten, and of four of speech."""
    error = activity_error(REFERENCE, [(0.0, 2.0, "S1"), (4.0, 6.0, "S2")], 10.0)
    assert pytest.approx(0.2) == error.of_total
    assert pytest.approx(0.5) == error.of_speech == error.worst


def test_one_speaker_for_two_is_confusion() -> None:
    """Half of the speech is attributed to the wrong speaker."""
    assert pytest.approx(0.5) == diarization_error(REFERENCE, [(0.0, 2.0, "S1"), (3.0, 5.0, "S1")], 10.0)


def test_a_boundary_within_the_collar_is_forgiven() -> None:
    """A boundary 0.2 s off costs nothing, one 0.5 s off costs the part outside the collar."""
    assert diarization_error(REFERENCE, [(0.0, 1.8, "x"), (3.2, 5.0, "y")], 10.0) == 0.0
    assert pytest.approx(0.25 / 3) == diarization_error(REFERENCE, [(0.0, 1.5, "x"), (3.0, 5.0, "y")], 10.0)


def test_nothing_found_is_all_missed() -> None:
    """An empty answer misses everything; an answer where nobody speaks is infinitely wrong."""
    assert diarization_error(REFERENCE, [], 10.0) == 1.0
    assert activity_error([], [(0.0, 1.0, "S1")], 10.0).worst == float("inf")
