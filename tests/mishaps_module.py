"""The mishaps of an owner, as a module that tests put into a variant of a rendered project: code that tells secrets."""

MODULE = '''"""Mishaps: routes whose code fails, or logs, with what they were sent."""

import asyncio
import logging
import threading
import warnings
from typing import TYPE_CHECKING, Any

from ..chassis.config.settings import Settings
from ..chassis.features import Feature

if TYPE_CHECKING:
    from fastapi import APIRouter

_log = logging.getLogger(__name__)
_kept: set[Any] = set()


def router(settings: Settings) -> "APIRouter":
    """Return the routes."""
    from fastapi import APIRouter, Request, Response
    from opentelemetry import trace

    del settings
    router = APIRouter(prefix="/v1/mishaps", tags=["mishaps"])

    @router.post("/{kind}")
    async def mishap(kind: str, request: Request) -> Response:
        said = (await request.json())["said"]
        match kind:
            case "raise":
                raise RuntimeError(said)
            case "cause":
                try:
                    raise KeyError(said)
                except KeyError as error:
                    error.add_note(said)
                    raise ValueError("it failed") from error
            case "group":
                raise ExceptionGroup("several", [ValueError(said), RuntimeError(said)])
            case "task":
                _kept.add(asyncio.create_task(_raises(said)))
            case "forgotten":
                asyncio.get_running_loop().call_soon(_raise, said)
            case "thread":
                thread = threading.Thread(target=_raise, args=(said,))
                thread.start()
                thread.join()
            case "log":
                _log.warning("told %s", said, extra={"told": {"deep": [said]}})
                logging.getLogger("a.library").error(said, stack_info=True)
                warnings.warn(said, stacklevel=1)
            case "span":
                span = trace.get_current_span()
                span.set_attribute("told", said)
                span.add_event("told", {"text": said})
                span.record_exception(RuntimeError(said))
                span.set_status(trace.StatusCode.ERROR, said)
        return Response(status_code=204)

    return router


async def _raises(said: str) -> None:
    _raise(said)


def _raise(said: str) -> None:
    raise RuntimeError(said)


FEATURE = Feature(name="mishaps", router=router)
'''
