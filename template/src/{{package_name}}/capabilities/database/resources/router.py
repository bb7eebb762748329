"""Router: everything under `/v1/<name>` for one resource."""

from fastapi import APIRouter

from ..deadlines import TimedRoute
from .read_routes import add_reads
from .resource import Resource
from .write_routes import add_writes


def build_router(resource: Resource) -> APIRouter:
    """Return the routes of a resource.

    Raises:
        TypeError: if the resource names columns that it does not have, or that cannot be asked for.
    """
    router = APIRouter(prefix=f"/v1/{resource.name}", tags=[resource.name], route_class=TimedRoute)
    add_reads(router, resource)
    add_writes(router, resource)
    return router
