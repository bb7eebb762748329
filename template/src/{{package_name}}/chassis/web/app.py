"""App: the ASGI application over a container that has already started."""

from collections.abc import Sequence

from fastapi import Depends, FastAPI
from fastapi.routing import APIRoute

from ..config.settings import Settings
from ..container import Container
from ..features import Feature
from ..identity import SERVICE, service_version
from ..web import health
from .problems import install_problems
from .routes import ProblemDocument, refuse_unknown_parameters
from .surroundings import Surroundings

DEFAULT_MAX_BODY_BYTES = 64 * 1024
"""Longest body of a route that does not state its own limit."""


def build_app(settings: Settings, features: Sequence[Feature], container: Container) -> FastAPI:
    """Return the application with the routes of every feature.

    Pages that load scripts from elsewhere are off; the `openapi` command prints the document.
    """
    app = FastAPI(
        title=SERVICE,
        version=service_version(),
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=_operation_id,
        dependencies=[Depends(refuse_unknown_parameters)],
    )
    app.state.container = container
    app.add_middleware(Surroundings)
    install_problems(app)
    capabilities = [feature.name for feature in features if feature.capability]
    routers = [feature.router(settings) for feature in features if feature.router is not None]
    for router in (health.build_router(settings, container, capabilities), *routers):
        # A limit of the whole application would refuse outside of Surroundings, and in plain text.
        app.include_router(router, max_body_size=DEFAULT_MAX_BODY_BYTES)
    return app


def _operation_id(route: APIRoute) -> str:
    return f"{route.tags[0]}_{route.name}" if route.tags else route.name


def openapi_document(app: FastAPI) -> dict[str, object]:
    """Return the OpenAPI document, the schema of problems included."""
    document: dict[str, object] = app.openapi()
    components = document.setdefault("components", {})
    if isinstance(components, dict):
        schema = ProblemDocument.model_json_schema(ref_template="#/components/schemas/{model}")
        definitions = schema.pop("$defs", {})
        components.setdefault("schemas", {}).update(definitions | {"ProblemDocument": schema})
    return document
