"""A provider of texts that fails on purpose: each request meets what the script of its case says."""

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.conformance import server
from tests.conformance.server import Action, Events, Request, VendorServer

COMPLETION = json.dumps(
    {
        "model": "fault-1",
        "choices": [{"message": {"content": "fine"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1},
    }
).encode()
_FAILURE = 'data: {"error": {"message": "no", "type": "server_error"}}'
_END = "data: [DONE]"


@dataclass(frozen=True, slots=True)
class Answer(server.Answer):
    """Answers with a status, by default with a completion."""

    body: bytes = COMPLETION


@dataclass(frozen=True, slots=True)
class Stall(server.Stall):
    """Says nothing more, before or in a completion."""

    body: bytes = COMPLETION


@dataclass(frozen=True, slots=True)
class Drip(server.Drip):
    """Sends a completion byte by byte."""

    body: bytes = COMPLETION


@dataclass(frozen=True, slots=True)
class Reset(server.Reset):
    """Breaks the connection, before or in a completion."""

    body: bytes = COMPLETION


@dataclass(frozen=True, slots=True)
class Truncate(server.Truncate):
    """Sends half of a completion."""

    body: bytes = COMPLETION


def stream(
    pieces: int = 3,
    every_s: float = 0.01,
    *,
    last: server.Stall | server.Drip | server.Reset | None = None,
    cut: bool = False,
    reports: bool = False,
) -> Events:
    """Return a streamed completion; it is whole unless something else comes `last`, it is cut, or reports a failure."""
    choices = [{"delta": {"content": f"piece {number} "}, "finish_reason": None} for number in range(pieces)]
    blocks = [f"data: {json.dumps({'choices': [choice]})}" for choice in choices]
    end = [_FAILURE, _END] if reports else [_END]
    return Events((*blocks, *(() if cut or last else end)), every_s, last)


@dataclass(slots=True)
class Target:
    """What one provider's requests meet: each takes the next action, the last action stays.

    `hits` counts requests, `at` are their moments on the monotonic clock, `keys` their idempotency keys, `most` is
    the highest number of requests that were answered at the same time.
    """

    script: Sequence[Action]
    hits: int = 0
    at: list[float] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    running: int = 0
    most: int = 0
    first: asyncio.Event = field(default_factory=asyncio.Event)

    def next(self, request: Request) -> Action:
        """Count a request and return what happens to it."""
        action = self.script[min(self.hits, len(self.script) - 1)]
        self.hits += 1
        self.first.set()
        self.at.append(time.monotonic())
        self.keys.append(request.headers.get("idempotency-key"))
        return action


class FaultServer(VendorServer):
    """Serves targets by the first part of the path; a path without a target is answered with 404."""

    def __init__(self) -> None:
        """Begin without targets."""
        super().__init__()
        self.targets: dict[str, Target] = {}

    def decide(self, request: Request) -> Action:
        """Return the next action of the target."""
        return self._target(request).next(request)

    async def act(
        self, request: Request, action: Action, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Do what the script says, and count what runs at the same time."""
        target = self._target(request)
        target.running += 1
        target.most = max(target.most, target.running)
        try:
            return await super().act(request, action, reader, writer)
        finally:
            target.running -= 1

    def _target(self, request: Request) -> Target:
        return self.targets.get(request.path.split("/")[1], Target([Answer(404)]))
