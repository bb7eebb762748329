"""The scan for secrets: keys, tokens and passwords in any commit, or in the next one; red, too, when nothing was read.

`just secrets` runs it, and with `--staged` the hook of commits. Other options go to the scanner. What git ignores is
no part of it; nothing is sent anywhere, and no secret is printed.
"""

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

CLEAN, FOUND, UNCHECKED = range(3)
STAGED = "--staged"
_SCAN = ("kingfisher", "scan", "--no-validate", "--redact", "--no-update-check")
_NOTHING, _SOMETHING = 0, 200
_READ = re.compile(r"Blobs Scanned\.*: ([\d,]+)")


class UncheckedError(Exception):
    """Nothing can be said about secrets; the text says why."""


def git(*arguments: str, given: str = "") -> str:
    """Return what git says."""
    done = subprocess.run(["git", *arguments], input=given, capture_output=True, text=True, check=False)  # noqa: S603, S607 - whoever commits has it
    if done.returncode:
        raise UncheckedError(done.stderr.strip())
    return done.stdout


def copy_history(folder: str) -> int:
    """Copy every commit into a folder, and return how many files the last one has."""
    if git("rev-parse", "--is-shallow-repository").strip() == "true":
        raise UncheckedError("not all commits are here; `git fetch --unshallow` brings them")
    count = len(git("ls-tree", "-r", "-z", "HEAD").split("\0")) - 1
    git("clone", "--quiet", "--bare", ".", folder)
    return count


def copy_staged(folder: str) -> int:
    """Copy what the next commit changes into a folder, and return how many files of it have a content."""
    names = git("diff", "--cached", "--name-only", "--diff-filter=d", "-z")
    git("checkout-index", "-z", "--stdin", f"--prefix={folder}/", given=names)
    return sum(bool(path.stat().st_size) for path in Path(folder).rglob("*") if path.is_file())


def scan(folder: str, count: int, options: Sequence[str]) -> int:
    """Print what is found in a folder, which the scanner has to have read."""
    done = subprocess.run([*_SCAN, folder, *options], capture_output=True, text=True, check=False)  # noqa: S603 - our words
    if done.returncode == _SOMETHING:
        sys.stdout.write(done.stdout.replace(f"{folder}{os.sep}", "") + "\nsecrets: found; see above\n")
        return FOUND
    read = _READ.search(done.stdout)
    blobs = int(read[1].replace(",", "")) if read else 0
    if done.returncode != _NOTHING or (count and not blobs):
        raise UncheckedError(f"the scanner read {blobs} of {count} files: {done.stderr.strip()[-1000:]}")
    sys.stdout.write(f"secrets: none in {blobs} contents of files\n")
    return CLEAN


def main(arguments: Sequence[str]) -> int:
    """Return 0 without a secret, 1 with one, 2 when nothing could be read."""
    options = [option for option in arguments if option != STAGED]
    try:
        with TemporaryDirectory() as folder:
            count = copy_staged(folder) if STAGED in arguments else copy_history(folder)
            return scan(folder, count, options) if count else CLEAN
    except UncheckedError as error:
        sys.stderr.write(f"secrets: nothing is known about them: {error}\n")
        return UNCHECKED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
