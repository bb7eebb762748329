"""Leases of workers."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Lead to this version."""
    op.create_table(
        "template_job_leases",
        sa.Column("executor_id", sa.String(64), nullable=False),
        sa.Column("host", sa.String(255), nullable=False),
        sa.Column("schedules", sa.JSON(), nullable=False),
        sa.Column("steady_since", sa.Double(), nullable=False),
        sa.Column("renewed_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("executor_id", name=op.f("pk_template_job_leases")),
    )


def downgrade() -> None:
    """Lead back from this version; the tables of DBOS stay."""
    op.drop_table("template_job_leases")
