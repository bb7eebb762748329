"""App: the ASGI application over a container that has already started."""

from collections.abc import Mapping, Sequence

from fastapi import APIRouter, Depends, FastAPI
from fastapi.routing import APIRoute, iter_route_contexts
from fastapi.telemetry import TelemetryConfig

from ..auth.authentication import Authentication
from ..config.settings import Settings
from ..container import Container
from ..features import Feature
from ..identity import SERVICE, service_version
from ..logs import LogSection
from ..metrics import Metrics
from ..tracing import Tracing
from . import health
from .access import Authenticated
from .bounds import QUIET_PATHS, Bounded
from .browsers import SafeHeaders, shared_with
from .callers import Addresses
from .deadline import Deadline
from .deprecation import Deprecated
from .limiting import AddressLimits, PrincipalLimits
from .metrics import HttpMetrics, Measured
from .metrics import build_router as metrics_router
from .problems import install_problems
from .rates import CallerLimits
from .routes import DEFAULT_MAX_BODY_BYTES, refuse_unknown_parameters
from .sampled import Sampled
from .settings import HttpSection, LimitsSection
from .surroundings import Surroundings


def build_app(
    settings: Settings, features: Sequence[Feature], container: Container, *, operations: bool = True
) -> FastAPI:
    """Return the application with the routes of every feature.

    Pages that load scripts from elsewhere are off; the `openapi` command prints the document. Without `operations` what
    operators ask is left to an application of its own.
    """
    app = _application(container)
    scopes: dict[int, str] = {}
    app.state.features, app.state.scopes = features, scopes
    metrics = _metrics(container)
    _add_layers(app, settings[HttpSection], features, scopes)
    app.add_middleware(Measured, metrics=metrics.of(HttpMetrics))
    if settings[LogSection].sample < 1:
        app.add_middleware(Sampled, share=settings[LogSection].sample)
    routers = {feature.name: feature.router(settings) for feature in features if feature.router is not None}
    for name, router in routers.items():
        scopes |= {id(context.original_route): name for context in iter_route_contexts(router.routes)}
    own = _operations(settings, features, container, metrics) if operations else ()
    for router in (health.build_probes(settings, container), *own, *routers.values()):
        # A limit of the whole application would refuse outside of Surroundings, and in plain text.
        app.include_router(router, max_body_size=DEFAULT_MAX_BODY_BYTES)
    return app


def build_operations(settings: Settings, features: Sequence[Feature], container: Container) -> FastAPI:
    """Return the application for a listener that only operators reach: it asks for no credentials."""
    app = _application(container)
    section = settings[HttpSection]
    app.add_middleware(Surroundings, section)
    app.add_middleware(SafeHeaders, hsts_s=section.hsts_s)
    for router in (
        health.build_probes(settings, container, detailed=True),
        *_operations(settings, features, container, _metrics(container)),
    ):
        app.include_router(router, max_body_size=DEFAULT_MAX_BODY_BYTES)
    return app


def _operations(
    settings: Settings, features: Sequence[Feature], container: Container, metrics: Metrics
) -> tuple[APIRouter, ...]:
    capabilities = [feature.name for feature in features if feature.capability]
    return health.build_info(settings, container, capabilities), metrics_router(metrics)


def _metrics(container: Container) -> Metrics:
    return container[Metrics] if Metrics in container else Metrics()


def _application(container: Container) -> FastAPI:
    app = FastAPI(
        title=SERVICE,
        version=service_version(),
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=_operation_id,
        dependencies=[Depends(refuse_unknown_parameters)],
        telemetry=_server_spans(container),
    )
    app.state.container = container
    install_problems(app)
    return app


def _add_layers(app: FastAPI, section: HttpSection, features: Sequence[Feature], scopes: Mapping[int, str]) -> None:
    """Wrap the application, from the inside out."""
    container: Container = app.state.container
    limits = container[CallerLimits] if CallerLimits in container else CallerLimits(LimitsSection())
    for feature in features:
        if feature.around is not None:
            app.add_middleware(feature.around, container)
    app.add_middleware(PrincipalLimits, limits)
    app.add_middleware(Authenticated, _authentication(container), scopes)
    app.add_middleware(AddressLimits, limits, Addresses(section.trusted_proxies))
    app.add_middleware(Bounded, section)
    app.add_middleware(Deadline, timeout_s=section.request_timeout_s)
    app.add_middleware(Deprecated)
    app.add_middleware(Surroundings, section)
    app.add_middleware(shared_with, section)
    app.add_middleware(SafeHeaders, hsts_s=section.hsts_s)


def _authentication(container: Container) -> Authentication:
    """Return what the running service has; an application outside of one, as tests make it, serves everybody."""
    return container[Authentication] if Authentication in container else Authentication(open=True)


def _server_spans(container: Container) -> TelemetryConfig:
    """Have the framework span requests when tracing is on; its logs would tell what callers sent."""
    return {
        "tracing": Tracing in container,
        "tracer_provider": container[Tracing].provider if Tracing in container else None,
        "operation_spans": False,
        "metrics": False,
        "logs": False,
        "auto_configure": False,
        "exclude": lambda scope: scope["path"] in QUIET_PATHS,
    }


def _operation_id(route: APIRoute) -> str:
    return f"{route.tags[0]}_{route.name}" if route.tags else route.name
