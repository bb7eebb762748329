"""HTTP routes of diarization."""

from contextlib import asynccontextmanager
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.datastructures import FormData, UploadFile

from ...chassis.contracts.envelope import Envelope, Failed, Pending
from ...chassis.contracts.errors import RequestError
from ...chassis.outgoing.fetching import Fetcher
from ...chassis.web.access import SIGNED
from ...chassis.web.problems import validation_problem
from ...chassis.web.routes import (
    CALLING,
    REF_TEMPLATE,
    end_with_caller,
    finished,
    json_response,
    media_type,
    problems,
    provided,
    read_body,
)
from ...chassis.work import Spool
from ...domain.diarization import AudioFile, Diarization, DiarizationParams
from ...service.diarization import DiarizationService

_MULTIPART_OVERHEAD_BYTES = 1024 * 1024
_MAX_NOTIFICATION_BYTES = 4 * 1024 * 1024
"""Enough for 40,000 turns; the end of a job that tells more is found by polling."""
_STRICT = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)
_TEXT_FIELDS = ("provider", "params")
_ending_with_caller = asynccontextmanager(end_with_caller)


class DiarizationParamsBody(BaseModel):
    """Params of one call."""

    model_config = _STRICT

    min_speakers: int | None = Field(default=None, ge=1)
    max_speakers: int | None = Field(default=None, ge=1)

    def to_params(self) -> DiarizationParams:
        """Return the params in the words of the domain."""
        return DiarizationParams(self.min_speakers, self.max_speakers)


class DiarizationSourceBody(BaseModel):
    """A recording that lies elsewhere."""

    model_config = _STRICT

    audio_url: str
    provider: str | None = None
    params: DiarizationParamsBody = DiarizationParamsBody()


class NotificationReceived(BaseModel):
    """What a provider is answered, whether or not its job was awaited here."""

    received: Literal[True] = True


type Service = Annotated[DiarizationService, Depends(provided(DiarizationService))]
type Uploads = Annotated[Spool, Depends(provided(Spool))]
type Sources = Annotated[Fetcher, Depends(provided(Fetcher))]

_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "additionalProperties": False,
                    "properties": {
                        "file": {"type": "string", "format": "binary", "description": "A PCM WAV recording."},
                        "provider": {"type": "string"},
                        "params": DiarizationParamsBody.model_json_schema(ref_template=REF_TEMPLATE),
                    },
                },
                "encoding": {"params": {"contentType": "application/json"}},
            },
            "application/json": {"schema": DiarizationSourceBody.model_json_schema(ref_template=REF_TEMPLATE)},
        },
    }
}


_NOTIFICATION: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "What the provider sends, in its own form.",
        "content": {"application/json": {"schema": {"type": "object"}}},
    }
}


def build_router(max_upload_bytes: int, *, fetch_urls: bool) -> APIRouter:
    """Return the routes; a larger recording is refused while it arrives, and one elsewhere without `fetch_urls`."""
    router = APIRouter(prefix="/v1/diarizations", tags=["diarization"])

    @router.post(
        "",
        status_code=202,
        response_model=Pending,
        responses=problems(*CALLING, "conflict", "unreadable_audio", "unsupported_source"),
        openapi_extra=_BODY,
        max_body_size=max_upload_bytes + _MULTIPART_OVERHEAD_BYTES,
    )
    async def start(request: Request, service: Service, spool: Uploads, sources: Sources) -> Response:
        """Accept a recording; the answer says where to look for the result."""
        if media_type(request, "multipart/form-data", "application/json") == "application/json":
            (url, provider, params), pointer = await _source(request, fetch_urls=fetch_urls), "/audio_url"
            service.check(provider=provider, params=params)
            async with _ending_with_caller(request):
                stored = await sources.fetch(url, spool, max_bytes=max_upload_bytes, pointer=pointer)
        else:
            async with request.form(max_files=1, max_fields=len(_TEXT_FIELDS)) as form:
                (upload, provider, params), pointer = _parts(form, max_upload_bytes), "/file"
                service.check(provider=provider, params=params)
                stored = await spool.store(upload.file)
        audio = AudioFile(stored.path, stored.bytes, stored.sha256, temporary=True)
        return _accepted(await service.start(audio, provider=provider, params=params), pointer)

    @router.get("/{id}", response_model=Envelope[Diarization])
    async def get(id: str, service: Service) -> Response:  # noqa: A002 - the name of the path parameter
        """Return the newest envelope."""
        return json_response(await service.get(id))

    @router.delete("/{id}", response_model=Failed, responses=problems("already_finished"))
    async def cancel(id: str, service: Service) -> Response:  # noqa: A002 - the name of the path parameter
        """Stop the work."""
        return json_response(await service.cancel(id))

    _add_webhook(router)
    return router


def _add_webhook(router: APIRouter) -> None:
    most = _MAX_NOTIFICATION_BYTES

    @router.post(
        "/webhooks/{provider}",
        response_model=NotificationReceived,
        responses=problems("unauthenticated"),
        openapi_extra=_NOTIFICATION,
        max_body_size=most,
        dependencies=[SIGNED],
    )
    async def notify(provider: str, request: Request, service: Service) -> Response:
        """Take a provider's word that a job has ended; it is signed, and may come more than once."""
        await service.notified(provider, dict(request.headers), await read_body(request, most))
        return json_response(NotificationReceived().model_dump())


def _accepted(envelope: Pending | Failed, pointer: str) -> Response:
    if isinstance(envelope, Failed):
        return finished(envelope, pointer if envelope.error.code == "unreadable_audio" else None)
    headers = {"Location": f"/v1/diarizations/{envelope.id}", "Retry-After": "1"}
    return json_response(envelope, status=202, headers=headers)


async def _source(request: Request, *, fetch_urls: bool) -> tuple[str, str | None, DiarizationParams | None]:
    try:
        source = DiarizationSourceBody.model_validate_json(await read_body(request))
    except ValidationError as error:
        raise validation_problem(error) from None
    if fetch_urls:
        return source.audio_url, source.provider, source.params.to_params()
    message = "Recordings are accepted as uploads only; send multipart/form-data with a part named 'file'."
    raise RequestError(message, code="unsupported_source", pointer="/audio_url")


def _parts(form: FormData, max_bytes: int) -> tuple[UploadFile, str | None, DiarizationParams | None]:
    for name in form:
        if name not in ("file", *_TEXT_FIELDS):
            message = f"No field is named {name[:64]!r}; expected file, provider, params."
            raise RequestError(message, code="unknown_field", pointer=f"/{name[:64]}")
        if len(form.getlist(name)) > 1:
            raise RequestError(f"Expected {name} once.", pointer=f"/{name}")
    upload = form.get("file")
    if not isinstance(upload, UploadFile):
        message = "Expected a part named 'file' with a file name."
        raise RequestError(message, pointer="/file")
    if (upload.size or 0) > max_bytes:
        raise RequestError(f"The file is larger than {max_bytes} bytes.", code="body_too_large", pointer="/file")
    provider, params = (form.get(name) for name in _TEXT_FIELDS)
    if isinstance(provider, UploadFile) or isinstance(params, UploadFile):
        message = "Expected provider and params as text."
        raise RequestError(message)
    try:
        checked = None if params is None else DiarizationParamsBody.model_validate_json(params).to_params()
    except ValidationError as error:
        raise validation_problem(error, above="/params") from None
    return upload, provider, checked
