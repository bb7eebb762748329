"""Ownership page: renews the page of the template that says who owns which file, from the data that updates go by."""

import sys
import tomllib

from tools import ROOT

_DATA = ROOT / "hooks" / "ownership.toml"
_PAGE = ROOT / "template" / "docs" / "ownership.md"
_HEAD = """\
# Who owns which file

`*` stands for one name, a slash at the end for everything below; some paths come with other answers only. A path that
is not here is yours alone: the template has never seen it. Where nothing of yours has to change, add: a file, a feature
module, a setting, a recipe in `own.just`. `uv run just template-status` lists the managed files that differ from what
the template wrote.
"""


def page() -> str:
    """Return the page."""
    owners = tomllib.loads(_DATA.read_text(encoding="utf-8"))
    parts = [
        f"\n## {owner.capitalize()}\n\n{told['meaning']}\n\n" + "".join(f"- `{path}`\n" for path in told["paths"])
        for owner, told in owners.items()
    ]
    return _HEAD + "".join(parts)


def main() -> int:
    """Write the page and return 0."""
    _PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
