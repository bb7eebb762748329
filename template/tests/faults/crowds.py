"""What many callers at once must come to: limits, half-open breakers, caches and outages."""

from collections.abc import Sequence

from tests.faults.cases import DOWN, FINE, KEY, OK, TIMED_OUT, UNAVAILABLE, Case, Step
from tests.faults.server import Answer, Stall

SLOW = Answer(after_s=0.2)
PATIENT = {"TIMEOUTS__ATTEMPT_S": "10", "TIMEOUTS__TOTAL_S": "30", "TIMEOUTS__CONNECT_S": "5"}
"""A crowd keeps a small machine busy: only what the case is about may run out of time."""

LATE = "deadline_exceeded"
NO_RETRY = {"RETRY__TYPE": "none", **PATIENT}

CROWDS: Sequence[Case] = [
    Case(
        "hundred_silent",
        "100 calls at once without an answer: who queued is refused",
        [Stall()],
        # The first four that time out let one each in from the queue; the fifth opens the breaker.
        [Step({TIMED_OUT: (50, 54), "circuit_open": (46, 50)}, (50, 54), (1.4, 15), calls=100, at_once=True)],
        {"TIMEOUTS__ATTEMPT_S": "1.5", "TIMEOUTS__TOTAL_S": "6"},
    ),
    Case(
        "hundred_hanging",
        "100 calls at once without an answer, total 2 s",
        [Stall()],
        [Step({LATE: 100}, 100, (1.9, 10), calls=100, at_once=True, headers=KEY)],
        {"TIMEOUTS__ATTEMPT_S": "2", "BREAKER__TYPE": "none", "BULKHEAD__MAX_CONCURRENT": "100"},
    ),
    Case(
        "few_places",
        "20 calls at once, 5 places and a queue of 5",
        [SLOW],
        [Step({OK: 10, "overloaded": 10}, 10, (0.38, 15), calls=20, at_once=True, most=5)],
        {"BULKHEAD__MAX_CONCURRENT": "5", "BULKHEAD__MAX_QUEUE": "5", **PATIENT},
    ),
    Case(
        "dead_with_queue",
        "200 calls at once to a dead provider, 10 places, a queue of 200",
        [Answer(503, after_s=0.05)],
        [Step({UNAVAILABLE: (5, 20), "circuit_open": (180, 195)}, (5, 20), (0, 15), calls=200, at_once=True, most=10)],
        {"BULKHEAD__MAX_CONCURRENT": "10", "BULKHEAD__MAX_QUEUE": "200", **NO_RETRY},
    ),
    Case(
        "no_place_in_backoff",
        "1 place; a call that pauses for 1 s does not hold it",
        [Answer(429, (("Retry-After", "1"),)), *[FINE] * 10],
        [Step({OK: 6}, 7, (0.95, 15), calls=6, at_once=True, most=1)],
        {"BULKHEAD__MAX_CONCURRENT": "1", "BULKHEAD__MAX_QUEUE": "20", **PATIENT},
    ),
    Case(
        "half_open",
        "1,000 calls at once when the breaker tries again: one probe",
        [*[DOWN] * 5, Answer(after_s=8), FINE],
        [
            Step({UNAVAILABLE: 5}, 5, calls=5),
            Step({OK: 1, "circuit_open": 999}, 1, (7.9, 30), calls=1000, at_once=True, before_s=1.1),
            Step({OK: 1}, 1),
        ],
        {**NO_RETRY, "BREAKER__OPEN_S": "1", "TIMEOUTS__ATTEMPT_S": "30", "TIMEOUTS__TOTAL_S": "40"},
    ),
    Case(
        "callers_leave",
        "20 callers hang up: breaker closed, places free",
        [*[Stall()] * 20, FINE],
        [
            Step({"gone": 20}, 20, (0.1, 15), calls=20, at_once=True, leave_s=0.2),
            Step({OK: 20}, 20, (0, 15), calls=20, at_once=True),
        ],
        {"BULKHEAD__MAX_CONCURRENT": "20", "BULKHEAD__MAX_QUEUE": "0", **PATIENT},
    ),
    Case(
        "paced",
        "25 calls at once, 20 per second, burst 5",
        [FINE],
        [Step({OK: 25}, 25, (0.95, 15), calls=25, at_once=True)],
        {"RATE_LIMIT__RATE_PER_S": "20", "RATE_LIMIT__BURST": "5", "RATE_LIMIT__MAX_WAIT_S": "2", **PATIENT},
    ),
    Case(
        "too_fast",
        "20 calls at once, 5 per second, no waiting",
        [FINE],
        [Step({OK: 5, "overloaded": 15}, 5, calls=20, at_once=True, retry_after="1")],
        {"RATE_LIMIT__RATE_PER_S": "5", "RATE_LIMIT__MAX_WAIT_S": "0", **PATIENT},
    ),
    Case(
        "same_question",
        "100 callers ask the same at once: one call",
        [SLOW],
        [Step({OK: 100}, 1, (0.15, 15), calls=100, at_once=True), Step({OK: 1}, 0), Step({OK: 1}, 1, prompt="else")],
        {"CACHE__TTL_S": "60", **PATIENT},
    ),
    Case(
        "one_leaves",
        "100 callers ask the same at once, one hangs up",
        [Answer(after_s=1)],
        [Step({OK: 99, "gone": 1}, 1, (0.9, 15), calls=100, at_once=True, leave_s=0.5, leaving=1)],
        {"CACHE__TTL_S": "60", **PATIENT},
    ),
    Case(
        "stale",
        "503 after an answer: the old answer stands in",
        [FINE, DOWN],
        [Step({OK: 1}, 1), Step({OK: 1}, 1, before_s=0.3)],
        {"CACHE__TTL_S": "0.2", "CACHE__STALE_IF_ERROR_S": "60", **NO_RETRY},
    ),
    Case(
        "falls_back",
        "503 for ever: another provider answers, also while the breaker is open",
        [DOWN],
        [Step({OK: 10}, 5, (0, 2), calls=10)],
        {"FALLBACK__NAME": "echo", **NO_RETRY},
    ),
    Case(
        "outage",
        "600 calls, 503 for ever, no breaker: at most 36 + 1 % more attempts",
        [DOWN],
        [Step({UNAVAILABLE: 600}, (600, 642), (0, 30), calls=600, at_once=True)],
        {"BREAKER__TYPE": "none", "BULKHEAD__MAX_QUEUE": "1000", **PATIENT},
    ),
    Case(
        "silent_outage",
        "4 x 50 calls with a key, no answer for ever, no breaker: as above",
        [Stall()],
        [
            Step({TIMED_OUT: (8, 20), LATE: (30, 42)}, (80, 92), (2.9, 15), 50, at_once=True, headers=KEY),
            *[Step({TIMED_OUT: 50}, 50, (1.4, 15), 50, at_once=True, headers=KEY)] * 3,
        ],
        {"TIMEOUTS__ATTEMPT_S": "1.5", "TIMEOUTS__TOTAL_S": "3", "BREAKER__TYPE": "none"},
    ),
    Case(
        "untuned",
        "503 for ever with the shipped settings: opens within 5 attempts",
        [DOWN],
        [Step({UNAVAILABLE: 1, "circuit_open": 9}, (3, 5), (0, 3), calls=10)],
        tuned=False,
    ),
]
