"""Proxy: wraps a port so that each of its operations goes through the pipeline."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, cast

from ..contracts.operation import Operation
from .pipeline import Call, Pipeline


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
