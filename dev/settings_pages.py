"""Settings pages: renews the two generated files of the template from a fresh render with every option."""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

from tools import ROOT, environment, run, sync, uv

_TEMPLATE = ROOT / "template"
_PAGES = {
    "docs/settings.md.jinja": ("##", ()),
    ".env.example.jinja": ("# ---", ("--format", "env")),
}
_EVERYTHING = ("--data", "capabilities=[database, jobs, oidc]")
_GENAI, _DIARIZATION = "'genai' in objects", "'diarization' in objects"
_CONDITIONS = {
    "genai": _GENAI,
    "provider echo": _GENAI,
    "provider anthropic_messages": _GENAI,
    "provider openai_compatible": _GENAI,
    "diarization": _DIARIZATION,
    "provider energy": _DIARIZATION,
    "provider pyannote": _DIARIZATION,
    "every provider": "objects",
    "database": "'database' in chosen_capabilities",
    "jobs": "'jobs' in chosen_capabilities",
    "oidc": "'oidc' in chosen_capabilities",
}
"""The condition under which a group of settings exists; groups without one always do."""


def main() -> int:
    """Write the files and return 0."""
    sync()
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder) / "my-service"
        failed = run("copier", "copy", "--defaults", "--quiet", "--vcs-ref=HEAD", *_EVERYTHING, str(ROOT), str(project))
        if failed:
            return failed
        subprocess.run([str(uv()), "sync", "--quiet"], cwd=project, env=environment(), check=True)
        for name, (mark, options) in _PAGES.items():
            command = [str(project / ".venv" / "bin" / "my-service"), "config", "reference", *options]
            text = subprocess.run(
                command, cwd=project, env=environment(), check=True, capture_output=True, text=True
            ).stdout
            (_TEMPLATE / name).write_text(as_template(text, mark), encoding="utf-8")
    return 0


def as_template(text: str, mark: str) -> str:
    """Return a page with variables for names; each optional group, which `mark` begins, gets its condition."""
    text = text.replace("MY_SERVICE_", "{{ env_prefix }}").replace("my-service", "{{ slug }}")
    head, *groups = re.split(rf"(?m)^(?={re.escape(mark)} )", text)
    page = head.rstrip("\n")
    for group in groups:
        condition = _CONDITIONS.get(group.splitlines()[0].removeprefix(f"{mark} "))
        body = f"\n\n{group.rstrip('\n')}"
        page += body if condition is None else f"\n{{%- if {condition} %}}{body}\n{{%- endif %}}"
    return f"{page}\n"


if __name__ == "__main__":
    sys.exit(main())
