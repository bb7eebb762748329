"""Build: from the settings of a provider to its pipeline."""

from .pipeline import Middleware, Pipeline
from .settings import Resilience
from .steps import Deadline, Log, MapErrors


def build_pipeline(settings: Resilience) -> Pipeline:
    """Compose the steps in their fixed order, outermost first."""
    steps: list[Middleware] = [Log(), Deadline(settings.timeouts), MapErrors()]
    return Pipeline(steps)
