"""Pipeline: the chain of middlewares that one call to a provider goes through."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ..contracts.call import current_record
from ..contracts.operation import Operation

type Proceed = Callable[[Call], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Call:
    """One call on its way to a provider; a middleware may hand on a changed copy."""

    provider: str
    kind: str
    operation: Operation
    invoke: Callable[[], Awaitable[Any]]


class Middleware(Protocol):
    """One step of the pipeline."""

    name: str

    async def __call__(self, call: Call, proceed: Proceed) -> Any:
        """Do something before, after or instead of `await proceed(call)`."""
        ...


class Pipeline:
    """Middlewares composed once, outermost first; the innermost step makes the call itself."""

    def __init__(self, middlewares: Sequence[Middleware]) -> None:
        """Chain the middlewares in the given order."""
        self.names = (*(middleware.name for middleware in middlewares), "call")
        proceed: Proceed = _invoke
        for middleware in reversed(middlewares):
            proceed = _step(middleware, proceed)
        self._enter = proceed

    def run(self, call: Call) -> Awaitable[Any]:
        """Send a call through the chain."""
        return self._enter(call)


def _step(middleware: Middleware, proceed: Proceed) -> Proceed:
    def step(call: Call) -> Awaitable[Any]:
        return middleware(call, proceed)

    return step


async def _invoke(call: Call) -> Any:
    record = current_record()
    # Reading a job is repeated by design; what counts is how often the work itself was asked for.
    if record is not None and not (call.operation.control and call.operation.idempotent):
        record.attempts += 1
    return await call.invoke()
