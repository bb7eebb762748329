"""What nobody caught is one line of the log, like everything else."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
START = """
import asyncio, sys, threading
from object_service.chassis.logs import LogSection, configure_logging
configure_logging(LogSection(format="json"))

def fail():
    raise ValueError("password=hunter2 4111 1111 1111 1111")

class Leaving:
    def __del__(self):
        fail()

async def forgetful():
    asyncio.get_running_loop().create_task(failing())
    await asyncio.sleep(0)
    await asyncio.sleep(0)

async def failing():
    fail()
"""
CASES = {
    "process_crashed": ("fail()", 1),
    "thread_crashed": ("thread = threading.Thread(target=fail); thread.start(); thread.join()", 0),
    "exception_ignored": ("Leaving()", 0),
    "Task exception was never retrieved": ("asyncio.run(forgetful())", 0),
}


@pytest.mark.parametrize("case", CASES)
def test_what_nobody_caught_is_a_line(case: str) -> None:
    """Main thread, other threads, destructors and forgotten tasks: redacted, in JSON, and nothing beside it."""
    code, status = CASES[case]
    start = f"import sys; sys.path[:0] = [{str(ROOT / 'dev')!r}]\n{START}\n{code}"
    done = subprocess.run([sys.executable, "-c", start], capture_output=True, text=True, timeout=60, check=False)

    assert status == done.returncode, done.stderr
    (line,) = (json.loads(text) for text in done.stderr.splitlines())
    assert line["event"].startswith(case)
    assert "ValueError: password=********" in line["exception"]
    assert "hunter2" not in done.stderr


def test_an_interruption_is_no_crash() -> None:
    """Ctrl+C ends the process as it always does."""
    start = f"import sys; sys.path[:0] = [{str(ROOT / 'dev')!r}]\n{START}\nraise KeyboardInterrupt"
    done = subprocess.run([sys.executable, "-c", start], capture_output=True, text=True, timeout=60, check=False)

    assert "KeyboardInterrupt" == done.stderr.splitlines()[-1]
