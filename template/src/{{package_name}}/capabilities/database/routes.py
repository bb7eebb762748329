"""Routes of kept envelopes: what the service has answered, by id and by what was asked."""

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from fastapi.responses import Response
from pydantic import BaseModel

from ...chassis.contracts.envelope import Envelope
from ...chassis.contracts.errors import RequestError
from ...chassis.web.routes import json_response, provided
from .deadlines import TimedRoute
from .envelopes import DatabaseStore

type Store = Annotated[DatabaseStore, Depends(provided(DatabaseStore))]
type Fingerprint = Annotated[str, Query(pattern="^sha256:[0-9a-f]{64}$", description="Of what was asked.")]


class Envelopes(BaseModel):
    """Envelopes, the newest first."""

    items: Sequence[Envelope[Any]]


def build_router() -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/v1/envelopes", tags=["envelopes"], route_class=TimedRoute)

    @router.get("", response_model=Envelopes)
    async def listing(store: Store, fingerprint: Fingerprint) -> Response:
        """Return the newest envelopes for what has this fingerprint, at most 100."""
        return json_response({"items": await store.documents(fingerprint)})

    @router.get("/{id}", response_model=Envelope[Any])
    async def get(id: str, store: Store) -> Response:  # noqa: A002 - the name of the path parameter
        """Return a kept envelope."""
        document = await store.document(id)
        if document is None:
            raise RequestError("No envelope has this id.", code="not_found", location="path")
        return json_response(document)

    return router
