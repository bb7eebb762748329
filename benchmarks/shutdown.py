"""Shutdown: ends a service under load again and again, and counts the requests that it lost.

Usage: `uv run python benchmarks/shutdown.py PROJECT [--rounds 20] [--clients 24]`. Each round starts an installed
project, asks it from many connections at once, and sends SIGTERM in the middle of that. A request is accepted when its
connection was, and lost when it has no complete answer then; an answer that tells of an error is complete. A connection
that is refused, or closed before its next request was sent, was not accepted. The bar is 0; more is exit code 1.
"""

import argparse
import asyncio
import itertools
import json
import random
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "dev"))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from serving import Service, running

_LIMIT_S = 60
_CONNECT_S = 3
_BODY = json.dumps({"prompt": "hello"}).encode()
_HEAD = b"POST /v1/generations HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
_WAYS = ("one", "kept", "slow")
"""A connection per request, one for many requests, and one per request whose body pauses half-way."""


class LostError(Exception):
    """An accepted request got no complete answer."""


@dataclass(slots=True)
class Round:
    """What came of the requests of one round."""

    answers: Counter[int] = field(default_factory=Counter)
    after: int = 0
    lost: list[str] = field(default_factory=list)
    told: bool = False


def main() -> None:
    """Print a line per round, and what was lost in all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("project", type=Path, help="an installed project with the object genai")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--clients", type=int, default=24, help="connections at a time")
    arguments = parser.parse_args()
    total = lost = 0
    for number in range(1, arguments.rounds + 1):
        with (
            tempfile.TemporaryDirectory() as folder,
            running(arguments.project.resolve(), Path(folder)) as service,
        ):
            seen, took_s = asyncio.run(_round(service, arguments.clients))
        answered = seen.answers.total()
        total, lost = total + answered + len(seen.lost), lost + len(seen.lost)
        statuses = ", ".join(f"{count} with {status}" for status, count in sorted(seen.answers.items()))
        told = f"answered {answered} ({statuses}; {seen.after} after SIGTERM)"
        print(f"round {number}: {told}, lost {len(seen.lost)}, ended after {took_s:.2f} s", flush=True)
        for reason in seen.lost:
            print(f"  {reason}")
    print(f"lost {lost} of {total} accepted requests in {arguments.rounds} rounds   bar 0")
    sys.exit(1 if lost or not total else 0)


async def _round(service: Service, clients: int) -> tuple[Round, float]:
    """Return what came of the requests, and how long the service took to end."""
    seen = Round()
    ways = itertools.islice(itertools.cycle(_WAYS), clients)
    async with asyncio.timeout(_LIMIT_S):
        crowd = [asyncio.create_task(_ask(seen, service.host, service.port, way)) for way in ways]
        while seen.answers.total() < 2 * clients:  # noqa: ASYNC110 - the load has to be there
            await asyncio.sleep(0.01)
        await asyncio.sleep(random.uniform(0, 0.2))  # noqa: S311 - any moment
        begun = monotonic()
        seen.told = True
        code = await asyncio.to_thread(service.stop)
        took_s = monotonic() - begun
        await asyncio.gather(*crowd)
    if code != 0:
        sys.exit(f"the service ended with exit code {code}")
    return seen, took_s


async def _ask(seen: Round, host: str, port: int, way: str) -> None:
    """Ask again and again, until nobody is there any more."""
    while True:
        try:
            async with asyncio.timeout(_CONNECT_S):
                reader, writer = await asyncio.open_connection(host, port)
        except (OSError, TimeoutError):
            if seen.told:
                return
            raise
        try:
            while await _request(seen, reader, writer, way):
                pass
        except (LostError, OSError, asyncio.IncompleteReadError, TimeoutError) as error:
            seen.lost.append(f"{way}: {type(error).__name__}: {error}")
        finally:
            writer.close()


async def _request(seen: Round, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: str) -> bool:
    """Send one request; tell whether another one may follow on this connection."""
    late = seen.told
    writer.write(_HEAD % len(_BODY) + _BODY[:5])
    if way == "slow":
        await writer.drain()
        await asyncio.sleep(random.uniform(0, 0.1))  # noqa: S311 - any pause
    writer.write(_BODY[5:])
    await writer.drain()
    async with asyncio.timeout(_LIMIT_S):
        status, closes = await _answer(reader)
    seen.answers[status] += 1
    seen.after += late
    if way != "kept" or closes:
        return False
    await asyncio.sleep(random.uniform(0, 0.05))  # noqa: S311 - any pause
    return not reader.at_eof()


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bool]:
    """Return the status of a complete answer, and whether it ends the connection."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower().split("\r\n")
    fields = dict(line.split(": ", 1) for line in head[1:] if line)
    content = await reader.readexactly(int(fields["content-length"]))
    json.loads(content)
    return int(head[0].split()[1]), fields.get("connection") == "close"


if __name__ == "__main__":
    main()
