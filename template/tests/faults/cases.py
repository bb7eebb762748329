"""The faults that the service has to survive, and what each of them must come to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tests.conformance.server import Action, Deaf, Garbage, Huge
from tests.faults.server import Answer, Drip, Reset, Stall, Truncate, stream

type Bounds = tuple[float, float]
type Count = int | tuple[int, int]

FAST: Mapping[str, str] = {
    "TIMEOUTS__ATTEMPT_S": "0.5",
    "TIMEOUTS__TOTAL_S": "2",
    "TIMEOUTS__CONNECT_S": "0.5",
    "RETRY__BASE_S": "0.05",
    "RETRY__CAP_S": "0.2",
}
KEY: Mapping[str, str] = {"Idempotency-Key": "key-1"}
FINE = Answer()


@dataclass(frozen=True, slots=True)
class Step:
    """Some calls, and what must come of them: how often which code (200 is `succeeded`), wire attempts, seconds.

    Calls run one after another, or all `at_once`; `leave_s` is how long after the last wire attempt the callers hang
    up, or the first `leaving` of them.
    """

    codes: Mapping[str, Count]
    hits: Count
    seconds: Bounds = (0, 1.9)
    calls: int = 1
    at_once: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)
    prompt: str = "hi"
    leave_s: float | None = None
    leaving: int | None = None
    before_s: float = 0
    most: int | None = None
    retry_after: str | None = None
    attempts: int | None = None
    stream: bool = False


def fits(expected: Count, found: int) -> bool:
    """Compare a number with what is expected: a number, or the least and the most."""
    least, most = expected if isinstance(expected, tuple) else (expected, expected)
    return least <= found <= most


@dataclass(frozen=True, slots=True)
class Case:
    """One provider that fails in one way; `settings` are those of its resilience, on top of `FAST`."""

    name: str
    fault: str
    script: Sequence[Action]
    steps: Sequence[Step]
    settings: Mapping[str, str] = field(default_factory=dict)
    tuned: bool = True
    base_url: str | None = None


def _once(code: str, hits: int, seconds: Bounds = (0, 0.9), **more: object) -> Sequence[Step]:
    return [Step({code: 1}, hits, seconds, **more)]  # type: ignore[arg-type] # the fields of Step, by name


OK, DOWN = "succeeded", Answer(503)
UNAVAILABLE, FAILED, TIMED_OUT = "provider_unavailable", "provider_error", "provider_timeout"

CASES: Sequence[Case] = [
    Case("passing", "503, 503, then 200", [DOWN, DOWN, FINE], _once(OK, 3, attempts=3)),
    Case("lasting", "503 for ever", [DOWN], _once(UNAVAILABLE, 3)),
    Case("refused_request", "400", [Answer(400)], [Step({"invalid_request": 30}, 30, (0, 3), calls=30)]),
    Case("unauthorised", "401", [Answer(401)], _once(FAILED, 1)),
    Case("not_built", "501", [Answer(501)], _once(FAILED, 1)),
    Case(
        "asks_for_1_s",
        "429 with Retry-After: 1, then 200",
        [Answer(429, (("Retry-After", "1"),)), FINE],
        _once(OK, 2, (1, 1.9)),
    ),
    Case(
        "asks_for_10_s",
        "429 with Retry-After: 10",
        [Answer(429, (("Retry-After", "10"),))],
        _once("provider_rate_limited", 1, retry_after="10"),
    ),
    Case(
        "asks_for_the_past",
        "503 with Retry-After in the past, then 200",
        [Answer(503, (("Retry-After", "Wed, 21 Oct 2015 07:28:00 GMT"),)), FINE],
        _once(OK, 2),
    ),
    Case(
        "asks_for_nonsense",
        "503 with an unreadable Retry-After, then 200",
        [Answer(503, (("Retry-After", "soon"),)), FINE],
        _once(OK, 2),
    ),
    Case(
        "throttles",
        "50 x 429, then 200: the breaker stays closed",
        [*[Answer(429)] * 50, FINE],
        [Step({"provider_rate_limited": 50}, 50, (0, 5), calls=50), Step({OK: 1}, 1)],
        {"RETRY__TYPE": "none"},
    ),
    Case("silent", "no answer, no key", [Stall()], _once(TIMED_OUT, 1, (0.45, 1.4))),
    Case(
        "silent_with_key",
        "no answer, with a key, total 0.7 s",
        [Stall()],
        _once("deadline_exceeded", 2, (0.65, 1.4), headers=KEY),
        {"TIMEOUTS__TOTAL_S": "0.7"},
    ),
    Case("deaf", "the request is never read", [Deaf()], _once(TIMED_OUT, 1, (0.45, 1.4))),
    Case("stalls", "no end of the body", [Stall(in_body=True)], _once(TIMED_OUT, 1, (0.45, 1.4))),
    Case("drips", "one byte each 50 ms", [Drip()], _once(TIMED_OUT, 1, (0.45, 1.4))),
    Case(
        "caller_in_a_hurry",
        "no answer, inbound deadline 0.3 s",
        [Stall()],
        _once("deadline_exceeded", 1, (0.25, 0.9), headers={"X-Request-Timeout": "0.3"}),
    ),
    Case("reset", "reset, no key", [Reset()], _once(FAILED, 1)),
    Case("reset_with_key", "reset, with a key", [Reset()], _once(FAILED, 3, headers=KEY)),
    Case(
        "reset_in_body",
        "reset in the body, with a key, then 200",
        [Reset(in_body=True), FINE],
        _once(OK, 2, headers=KEY),
    ),
    Case("truncates", "half of the answer", [Truncate()], _once(FAILED, 1)),
    Case("garbage", "an answer that is not HTTP", [Garbage()], _once(FAILED, 1)),
    Case("no_json", "200 with a page", [Answer(body=b"<html>")], _once(FAILED, 1)),
    Case("huge", "more than 16 MiB", [Huge()], _once(FAILED, 1, (0, 2))),
    Case("refuses", "connection refused", [], _once(FAILED, 0, attempts=3), base_url="http://127.0.0.1:9"),
    Case("streams", "a stream", [stream()], _once(OK, 1, stream=True)),
    Case("late_stream", "503, then a stream", [DOWN, stream()], _once(OK, 2, stream=True)),
    Case("no_stream", "a stream is asked for, 503 for ever", [DOWN], _once(UNAVAILABLE, 3, stream=True)),
    Case("cut_stream", "a stream ends in the middle", [stream(cut=True)], _once(FAILED, 1, stream=True)),
    Case(
        "reset_stream",
        "reset in a stream, with a key",
        [stream(last=Reset())],
        _once(FAILED, 1, stream=True, headers=KEY),
    ),
    Case(
        "silent_stream",
        "a stream falls silent, idle limit 0.3 s",
        [stream(last=Stall())],
        _once(TIMED_OUT, 1, (0.25, 1.2), stream=True),
        {"TIMEOUTS__STREAM_IDLE_S": "0.3"},
    ),
    Case(
        "dripping_stream",
        "a stream goes on byte by byte, idle limit 0.3 s",
        [stream(last=Drip())],
        _once(TIMED_OUT, 1, (0.25, 1.2), stream=True),
        {"TIMEOUTS__STREAM_IDLE_S": "0.3"},
    ),
    Case(
        "reporting_stream",
        "a stream tells of a failure in the middle",
        [stream(reports=True)],
        _once(FAILED, 1, stream=True),
    ),
    Case(
        "failed_stream",
        "a stream begins with a failure, with a key, then a stream",
        [stream(pieces=0, reports=True), stream()],
        _once(OK, 2, stream=True, headers=KEY),
    ),
    Case(
        "many_streams",
        "every fifth stream fails: the breaker stays closed",
        [*([stream(pieces=1)] * 4 + [DOWN]) * 6],
        [Step({OK: 24, UNAVAILABLE: 6}, 30, (0, 5), calls=30, stream=True)],
        {"RETRY__TYPE": "none"},
    ),
    Case(
        "left_stream",
        "5 callers leave a stream: nothing looks like a failure",
        [*[stream(last=Stall())] * 5, stream()],
        [
            Step({"gone": 5}, 5, (0.1, 5), calls=5, at_once=True, stream=True, leave_s=0.2),
            Step({OK: 1}, 1, stream=True),
        ],
    ),
    Case(
        "slow_stream",
        "a stream of 1 s, attempt limit 0.5 s",
        [stream(pieces=20, every_s=0.05)],
        _once(OK, 1, (0.9, 2), stream=True),
    ),
    Case(
        "dies",
        "503 for ever: opens after 5 in a row, answers at once, tries again",
        [*[DOWN] * 5, FINE],
        [
            Step({UNAVAILABLE: 5}, 5, calls=5),
            Step({"circuit_open": 20}, 0, (0, 1), calls=20, retry_after="1"),
            Step({OK: 1}, 1, before_s=1.1),
            Step({OK: 5}, 5, calls=5),
        ],
        {"RETRY__TYPE": "none", "BREAKER__OPEN_S": "1"},
    ),
    Case(
        "other_operation",
        "503 for ever, but for streams: their breaker is another one",
        [*[DOWN] * 5, stream()],
        [
            Step({UNAVAILABLE: 5}, 5, calls=5),
            Step({"circuit_open": 1}, 0),
            Step({OK: 5}, 5, calls=5, stream=True),
        ],
        {"RETRY__TYPE": "none"},
    ),
    Case(
        "probe_leaves",
        "who asks when the breaker tries again hangs up: the next may ask",
        [*[DOWN] * 5, Stall(), FINE],
        [
            Step({UNAVAILABLE: 5}, 5, calls=5),
            Step({"gone": 1}, 1, before_s=1.1, leave_s=0.2),
            Step({OK: 1}, 1),
        ],
        {"RETRY__TYPE": "none", "BREAKER__OPEN_S": "1"},
    ),
]
