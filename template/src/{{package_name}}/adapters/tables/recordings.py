"""Table of recordings."""

from sqlalchemy import Index, String
from sqlalchemy.orm import Mapped, mapped_column

from ...capabilities.database.tables import Document, ResourceTable


class RecordingRow(ResourceTable):
    """One recording; what callers sort by has an index that ends in the id, so that pages follow on each other."""

    __tablename__ = "recordings"
    __table_args__ = (
        Index(None, "created_at", "id"),
        Index(None, "title", "id"),
        Index(None, "duration_s", "id"),
    )

    title: Mapped[str] = mapped_column(String(200))
    language: Mapped[str | None] = mapped_column(String(35))
    is_active: Mapped[bool]
    duration_s: Mapped[float | None]
    tags: Mapped[list[str]] = mapped_column(Document)
