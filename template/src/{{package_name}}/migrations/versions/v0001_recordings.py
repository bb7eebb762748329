"""Recordings."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Lead to this version."""
    op.create_table(
        "recordings",
        sa.Column("title", sa.String(200), nullable=False),
        sa.Column("language", sa.String(35)),
        sa.Column("is_active", sa.Boolean(), nullable=False),
        sa.Column("duration_s", sa.Double()),
        sa.Column("tags", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_recordings")),
    )
    for name in ("created_at", "title", "duration_s"):
        op.create_index(op.f(f"ix_recordings_{name}_id"), "recordings", [name, "id"])


def downgrade() -> None:
    """Lead back to the version before."""
    op.drop_table("recordings")
