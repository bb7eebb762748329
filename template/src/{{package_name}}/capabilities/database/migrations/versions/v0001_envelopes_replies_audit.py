"""Envelopes, replies and audit."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Lead to this version."""
    _create_envelopes()
    _create_replies()
    _create_audit()


def _create_envelopes() -> None:
    op.create_table(
        "template_envelopes",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("object", sa.String(64), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("fingerprint", sa.String(80), nullable=False),
        sa.Column("schema_version", sa.String(16), nullable=False),
        sa.Column("document", sa.JSON()),
        sa.Column("packed", sa.LargeBinary()),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("updated_at", _TIME, nullable=False),
        sa.Column("awaited_until", _TIME),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_template_envelopes")),
    )
    op.create_index(
        op.f("ix_template_envelopes_fingerprint_created_at"), "template_envelopes", ["fingerprint", "created_at"]
    )
    op.create_index(op.f("ix_template_envelopes_updated_at"), "template_envelopes", ["updated_at"])
    op.create_index(op.f("ix_template_envelopes_awaited_until"), "template_envelopes", ["awaited_until"])


def _create_replies() -> None:
    op.create_table(
        "template_replies",
        sa.Column("scope", sa.String(64), nullable=False),
        sa.Column("claim", sa.String(64), nullable=False),
        sa.Column("claimed_until", _TIME, nullable=False),
        sa.Column("request", sa.String(96)),
        sa.Column("status", sa.Integer()),
        sa.Column("headers", _JSON),
        sa.Column("body", sa.LargeBinary()),
        sa.Column("created_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("scope", name=op.f("pk_template_replies")),
    )
    op.create_index(op.f("ix_template_replies_created_at"), "template_replies", ["created_at"])


def _create_audit() -> None:
    op.create_table(
        "template_audit",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("resource", sa.String(64), nullable=False),
        sa.Column("record_id", sa.String(64), nullable=False),
        sa.Column("action", sa.String(16), nullable=False),
        sa.Column("actor", sa.String(64), nullable=False),
        sa.Column("correlation_id", sa.String(128), nullable=False),
        sa.Column("at", _TIME, nullable=False),
        sa.Column("before", _JSON),
        sa.Column("after", _JSON),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_template_audit")),
    )
    op.create_index(
        op.f("ix_template_audit_resource_record_id_number"), "template_audit", ["resource", "record_id", "number"]
    )
    op.create_index(op.f("ix_template_audit_at"), "template_audit", ["at"])


def downgrade() -> None:
    """Lead back to the version before."""
    op.drop_table("template_audit")
    op.drop_table("template_replies")
    op.drop_table("template_envelopes")
