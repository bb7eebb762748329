"""Recordings as they are written and read over HTTP."""

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class RecordingBody(BaseModel):
    """What callers write."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True, allow_inf_nan=False)

    title: str = Field(min_length=1, max_length=200)
    language: str | None = Field(
        default=None, max_length=35, pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$", description="A tag such as en-GB."
    )
    is_active: bool = True
    duration_s: float | None = Field(default=None, ge=0)
    tags: list[Annotated[str, Field(min_length=1, max_length=40)]] = Field(default=[], max_length=20)


class Recording(RecordingBody):
    """What callers read."""

    id: str
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None = None
