"""Pipeline: the chain of middlewares around every call to a provider, and the stand-in that sends calls into it."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol, cast

from ..contracts.call import Operation, current_record
from .streams import Pipe, pieces, pump_session, pump_stream

_NO_KEYWORDS: Mapping[str, Any] = MappingProxyType({})

type Proceed = Callable[[Call], Awaitable[Any]]


@dataclass(slots=True)
class Call:
    """One call on its way to a provider.

    A middleware that changes something hands on a copy (`dataclasses.replace`). `method` is the port's own; `pipe`
    takes the pieces where the operation returns a stream or a session.
    """

    provider: str
    kind: str
    operation: Operation
    method: Callable[..., Any]
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = _NO_KEYWORDS
    pipe: Pipe | None = None


class Middleware(Protocol):
    """One step of the pipeline."""

    name: str

    def __call__(self, call: Call, proceed: Proceed) -> Awaitable[Any]:
        """Do something before, after or instead of `await proceed(call)`; written as `async def`."""
        ...


class Pipeline:
    """Middlewares composed once, outermost first; the innermost step makes the call itself."""

    def __init__(self, middlewares: Sequence[Middleware]) -> None:
        """Chain the middlewares in the given order."""
        self.middlewares = tuple(middlewares)
        self.names = (*(middleware.name for middleware in middlewares), "call")
        proceed: Proceed = _call
        for middleware in reversed(middlewares):
            proceed = _step(middleware, proceed)
        self.run = proceed


def _step(middleware: Middleware, proceed: Proceed) -> Proceed:
    enter = middleware.__call__

    def step(call: Call) -> Awaitable[Any]:
        return enter(call, proceed)

    return step


def _call(call: Call) -> Awaitable[Any]:
    record = current_record()
    # Reading a job is repeated by design; what counts is how often the work itself was asked for.
    if record is not None and not call.operation.bound:
        record.attempts += 1
    returned: Any = call.method(*call.args, **call.kwargs)
    if call.pipe is None:
        return returned  # type: ignore[no-any-return] # as the port declares
    pump = pump_stream if call.operation.returns == "stream" else pump_session
    return pump(call, returned, call.pipe)


class _Guarded:
    """Stands in for a port; the wrapped method is looked up anew at each call, so it may be replaced."""

    def __init__(self, port: object, guards: Mapping[str, Callable[..., Any]]) -> None:
        self._port = port
        vars(self).update(guards)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._port, name)

    @property  # type: ignore[misc] # so that `isinstance` tells what the port can do beyond its operations
    def __class__(self) -> type:
        return type(self._port)

    def __repr__(self) -> str:
        return f"guarded({type(self._port).__name__})"


def guard[P](port: P, pipeline: Pipeline, operations: Mapping[str, Operation], *, provider: str, kind: str) -> P:
    """Return a stand-in of the same type whose `operations` run through the pipeline.

    Attributes that are no operation (such as `aclose`) reach the port itself; an operation that the port does not have,
    the stand-in does not have either.
    """
    run = pipeline.run

    def guarded(operation: Operation) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Awaitable[Any]:
            return run(Call(provider, kind, operation, getattr(port, operation.name), args, kwargs))

        def pump(pipe: Pipe, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Awaitable[Any]:
            return run(Call(provider, kind, operation, getattr(port, operation.name), args, kwargs, pipe))

        def stream(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
            return pieces(lambda pipe: pump(pipe, args, kwargs))

        @asynccontextmanager
        async def session(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
            async with aclosing(pieces(lambda pipe: pump(pipe, args, kwargs))) as opened:
                yield await anext(opened)
                async for _ in opened:
                    pass

        return {"answer": call, "stream": stream, "session": session}[operation.returns]

    present = {name: guarded(operation) for name, operation in operations.items() if hasattr(port, name)}
    return cast("P", _Guarded(port, present))
