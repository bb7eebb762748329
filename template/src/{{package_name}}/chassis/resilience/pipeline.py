"""Pipeline: the chain of middlewares around every call to a provider, and the stand-in that sends calls into it."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

from ..contracts.call import Operation, current_record

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


class _Guarded:
    """Stands in for a port; the wrapped method is looked up anew at each call, so it may be replaced."""

    def __init__(self, port: object, guards: Mapping[str, Callable[..., Awaitable[Any]]]) -> None:
        self._port = port
        self._guards = guards

    def __getattr__(self, name: str) -> Any:
        guard = self._guards.get(name)
        return getattr(self._port, name) if guard is None else guard

    def __repr__(self) -> str:
        return f"guarded({type(self._port).__name__})"


def guard[P](port: P, pipeline: Pipeline, operations: Mapping[str, Operation], *, provider: str, kind: str) -> P:
    """Return a stand-in of the same type whose `operations` run through the pipeline.

    Attributes that are no operation (such as `aclose`) reach the port itself.
    """

    def guarded(operation: Operation) -> Callable[..., Awaitable[Any]]:
        def call(*args: Any, **kwargs: Any) -> Awaitable[Any]:
            def invoke() -> Awaitable[Any]:
                return cast("Awaitable[Any]", getattr(port, operation.name)(*args, **kwargs))

            return pipeline.run(Call(provider, kind, operation, invoke))

        return call

    return cast("P", _Guarded(port, {name: guarded(operation) for name, operation in operations.items()}))
