"""Last words: what nobody caught is a line of the log like any other, redacted, before the process or thread ends."""

import logging
import sys
import threading
from types import TracebackType

_log = logging.getLogger(__name__)


def speak_last_words() -> None:
    """Have the interpreter tell the log what it would print; calling it again changes nothing.

    What a task of the event loop leaves behind, the loop itself gives to the log.
    """
    sys.excepthook = _of_process
    sys.unraisablehook = _of_destructor
    threading.excepthook = _of_thread


def _of_process(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if not issubclass(kind, Exception):
        sys.__excepthook__(kind, error, trace)  # Ctrl+C is no failure
        return
    _log.critical("process_crashed", exc_info=(kind, error, trace))


def _of_thread(arguments: threading.ExceptHookArgs) -> None:
    name = None if arguments.thread is None else arguments.thread.name
    error = arguments.exc_value or arguments.exc_type()
    _log.error("thread_crashed", extra={"thread_name": name}, exc_info=(type(error), error, arguments.exc_traceback))


def _of_destructor(arguments: "sys.UnraisableHookArgs") -> None:
    error = arguments.exc_value or arguments.exc_type()
    extra = {"hint": arguments.err_msg, "object": type(arguments.object).__name__}
    _log.error("exception_ignored", extra=extra, exc_info=(type(error), error, arguments.exc_traceback))
