"""${message[:1].upper()}${message[1:].rstrip(".")}."""
<%!
    def body(work):
        """Return statements without what is said around them, and nothing where there are none."""
        kept = "\n".join(line for line in (work or "").splitlines() if "# ###" not in line).strip()
        return "" if kept == "pass" else f"\n    {kept}"
%>
<% up, down = body(upgrades), body(downgrades) %>
% if "sa." in up + down:
import sqlalchemy as sa
% endif
% if "op." in up + down:
from alembic import op
% endif
% if imports:
${imports}
% endif

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = ${repr(branch_labels)}
depends_on = ${repr(depends_on)}


def upgrade() -> None:
    """Lead to this version."""${up}


def downgrade() -> None:
    """Lead back to the version before."""${down}
