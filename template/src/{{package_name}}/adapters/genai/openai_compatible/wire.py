"""Wire: maps prompts to bodies of requests, and answers back; built strictly, read leniently.

Source: the public API reference of `POST /chat/completions`. Servers other than the original leave fields out, set
them to null, or send parts where a text is expected; what is not needed is not looked at.

Why a text ends: `stop` and `eos` are its end; so is a reason that is missing or unknown, which is none to lose a text.
`length` and `model_length` cut it off, `content_filter` refuses it. Calls of tools, for which nobody asked, and
`insufficient_system_resource` interrupt it. `error` is a failure.
"""

import json
import re
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, Field, TypeAdapter, ValidationError

from ....chassis.contracts.errors import AdapterError, AdapterQuotaError, AdapterResponseError, AdapterTransientError
from ....chassis.contracts.json import to_json
from ....chassis.http_failures import Where, failure_within
from ....domain.genai import Answer, FinishReason, Generation, GenerationParams, Usage
from .vendors import Vendor

_FAILED = "error"
_REFUSED = "content_filter"
_FINISH_REASONS = {
    "length": FinishReason.LENGTH,
    "model_length": FinishReason.LENGTH,
    _REFUSED: FinishReason.REFUSAL,
    "tool_calls": FinishReason.INTERRUPTED,
    "function_call": FinishReason.INTERRUPTED,
    "insufficient_system_resource": FinishReason.INTERRUPTED,
}
_INVALID = "invalid_request_error"
_NO_QUOTA = "insufficient_quota"
_STATUSES = {"invalid_api_key": "401", "model_not_found": "404", "rate_limit_exceeded": "429", _INVALID: "400"}
"""Which status codes stand for where there is none; many servers send the status itself as code."""

_CODE = re.compile(r"[A-Za-z0-9._-]{1,64}")
_MOST_TOKENS = 10**12
"""A larger count is impossible."""


def _joined(value: object) -> object:
    """Put the texts of a list of parts together; parts of other types are passed over."""
    if not isinstance(value, list):
        return value
    texts = (part.get("text") for part in value if isinstance(part, dict) and part.get("type", "text") == "text")
    return "".join(text for text in texts if isinstance(text, str))


def _word(value: object) -> object:
    """Take anything but a text for nothing."""
    return value if isinstance(value, str) else None


type _Text = Annotated[str | None, BeforeValidator(_joined)]
type _Word = Annotated[str | None, BeforeValidator(_word)]


class _Message(BaseModel):
    content: _Text = None
    refusal: _Text = None


class _Choice(BaseModel):
    message: _Message
    finish_reason: _Word = None


class _Usage(BaseModel):
    prompt_tokens: int = Field(ge=0, le=_MOST_TOKENS)
    completion_tokens: int = Field(ge=0, le=_MOST_TOKENS)


class Completion(BaseModel):
    """A whole answer."""

    choices: list[_Choice] = Field(min_length=1)
    model: _Word = None
    usage: Any = None


class _Piece(BaseModel):
    delta: _Message | None = None
    finish_reason: _Word = None


class Chunk(BaseModel):
    """A piece of a streamed answer."""

    error: Any = None
    choices: list[_Piece] | None = None
    model: _Word = None
    usage: Any = None


_JSON = TypeAdapter[Any](Any)


def request_body(vendor: Vendor, model: str, prompt: str, params: GenerationParams, *, strict: bool) -> dict[str, Any]:
    """Map a prompt and its params to the body of a request; what is not given is left out."""
    messages = [{"role": "user", "content": prompt}]
    response_format: dict[str, Any] | None = None
    if params.response_schema is not None:
        schema = to_json(params.response_schema)
        response_format = {"type": "json_schema"}
        response_format["json_schema"] = {"name": "response", "strict": strict, "schema": schema}
        if not vendor.schemas:
            told = f"Answer with JSON only. It has to follow this JSON schema: {json.dumps(schema, ensure_ascii=False)}"
            messages.insert(0, {"role": "system", "content": told})
            response_format = {"type": "json_object"}
    optional = {
        vendor.max_tokens: params.max_output_tokens,
        "temperature": params.temperature,
        "stop": None if params.stop is None else list(params.stop),
        "response_format": response_format,
    }
    given = {name: value for name, value in optional.items() if value is not None}
    return {"model": model, "messages": messages, **given}


def streamed(vendor: Vendor, body: dict[str, Any]) -> dict[str, Any]:
    """Return the body of a request for the same answer in pieces."""
    options = {"stream_options": {"include_usage": True}} if vendor.usage_on_request else {}
    return body | {"stream": True} | options


def answer_of(completion: Completion, where: Where) -> Answer:
    """Map the first choice of an answer; a refusal is its own finish reason.

    Raises:
        AdapterTransientError: if the server says that it failed.
    """
    choice = completion.choices[0]
    if choice.finish_reason == _FAILED:
        raise AdapterTransientError("the provider reports a failure", **where)
    reason = _FINISH_REASONS.get(choice.finish_reason or "", FinishReason.STOP)
    if choice.message.refusal:
        reason = FinishReason.REFUSAL
    text = choice.message.content or choice.message.refusal or ""
    return Answer(Generation(text, reason, _counted(completion.usage)), completion.model)


class Received:
    """What the pieces of a streamed answer come to."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._texts: list[str] = []
        self._begun = False
        self._whole = Completion(choices=[_Choice(message=_Message())])

    def add(self, chunk: Chunk) -> str:
        """Take a piece in and return its text."""
        whole, last = self._whole, self._whole.choices[0]
        whole.model, whole.usage = chunk.model or whole.model, chunk.usage or whole.usage
        text = ""
        for piece in (chunk.choices or ())[:1]:
            self._begun = True
            delta = piece.delta or _Message()
            reason = _REFUSED if delta.refusal else piece.finish_reason
            if last.finish_reason != _REFUSED:
                last.finish_reason = reason or last.finish_reason
            text = delta.content or delta.refusal or ""
        self._texts.append(text)
        return text

    def answer(self, where: Where) -> Answer:
        """Return the whole.

        Raises:
            AdapterResponseError: if no piece had a choice.
            AdapterTransientError: if the server says that it failed.
        """
        if not self._begun:
            raise AdapterResponseError("no piece is one of a chat completion", **where)
        self._whole.choices[0].message.content = "".join(self._texts)
        return answer_of(self._whole, where)


def explain_failure(content: bytes) -> tuple[str | None, type[AdapterError] | None]:
    """Return the code in the body of a failure; a quota that is used up comes as a rate limit otherwise."""
    codes = _codes(_reported(content))
    return next(iter(codes), None), AdapterQuotaError if _NO_QUOTA in codes else None


def failure_in(content: bytes, where: Where) -> AdapterError | None:
    """Return the error for a failure that came with a status of success, or None where there is none."""
    error, (code, known) = _reported(content), explain_failure(content)
    statuses = [_STATUSES.get(found, found) for found in _codes(error)]
    return failure_within(where, code, statuses, known) if error else None


def _reported(content: bytes) -> dict[str, Any]:
    """Return what a body says of a failure: under `error`, in a list too, or as a whole that calls itself an error."""
    try:
        body = _JSON.validate_json(content)
    except ValidationError:
        return {}
    body = body[0] if isinstance(body, list) and body else body
    if not isinstance(body, dict):
        return {}
    error = body.get("error") or (body if body.get("object") == _FAILED else {})
    return error if isinstance(error, dict) else {"message": error}


def _codes(error: dict[str, Any]) -> list[str]:
    found = (str(error[name]) for name in ("code", "type") if isinstance(error.get(name), str | int))
    return [code for code in found if _CODE.fullmatch(code)]


def _counted(usage: object) -> Usage | None:
    """Return what was counted; counts that are incomplete or impossible are no reason to lose the text."""
    try:
        counted = _Usage.model_validate(usage)
    except ValidationError:
        return None
    return Usage(counted.prompt_tokens, counted.completion_tokens)
