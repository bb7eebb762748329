"""Template: keeps a project in step with the template it was made from.

Run in the project's folder, which it is a part of; the standard library, git and Copier are all it needs.
"""

import argparse
import json
import sys
from pathlib import Path

from errors import RefusedError
from guard import guard
from status import status
from updating import finish, update


def main(words: list[str]) -> int:
    """Return 0 when all is well, 1 when something is left to do, 2 when the command was refused."""
    asked = _parser().parse_args(words)
    folder = Path.cwd()
    try:
        match asked.command:
            case "update":
                return update(folder, _options(asked), checked=asked.check)
            case "merge":
                return finish(folder, asked.base, asked.new, checked=asked.check)
            case "status":
                found = status(folder, _options(asked), diff=asked.diff)
                print(json.dumps(found.document(), indent=2) if asked.json else "\n".join(found.lines()))
                return 0
            case _:
                left = guard(folder, asked.before)
                print(*left, sep="\n", end="\n" if left else "", file=sys.stderr)
                return 1 if left else 0
    except RefusedError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; nothing was changed", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="template", allow_abbrev=False, description="Keeps this project up to date.")
    commands = parser.add_subparsers(dest="command", required=True)
    update_ = commands.add_parser("update", help="merge the newest release into this project")
    merge = commands.add_parser("merge", help="the second half of an update, run by the release that it comes to")
    status_ = commands.add_parser("status", help="own edits, releases behind, and what an update would do")
    guard_ = commands.add_parser("check", help="refuse what an update left behind")
    for command in (update_, status_):
        command.add_argument("--vcs-ref", metavar="TAG", help="come to this release instead of the newest")
        command.add_argument("--data", metavar="NAME=VALUE", action="append", default=[], help="give another answer")
    for command in (update_, merge):
        command.add_argument("--no-check", dest="check", action="store_false", help="do not lock, nor run the gate")
    merge.add_argument("--base", type=Path, required=True, help="the project as the old release renders it")
    merge.add_argument("--new", type=Path, required=True, help="the project as the new release renders it")
    status_.add_argument("--diff", action="store_true", help="print the changes of the update, too")
    status_.add_argument("--json", action="store_true", help="print a document")
    guard_.add_argument("--before", metavar="COMMIT", default="HEAD", help="look at what is committed since")
    return parser


def _options(asked: argparse.Namespace) -> list[str]:
    """Return the options of Copier that were asked for."""
    release = [f"--vcs-ref={asked.vcs_ref}"] if asked.vcs_ref else []
    return [*release, *(f"--data={answer}" for answer in asked.data)]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
