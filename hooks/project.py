"""Project: a service under version control, and everything that is asked of git."""

import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from errors import RefusedError

ANSWERS = ".copier-answers.yml"
SUBMODULE = "160000"
"""The mode of an entry that is a commit of another repository."""
ABANDON = "git reset --hard && git clean -fd ."
"""What abandons an update: the tree was clean before, without files that git does not know."""

type Entry = tuple[str, str]
"""Mode and blob of a file, as git writes them."""
type Tree = dict[str, Entry]
"""Entries by path, relative to the project and with slashes."""

_IDENTITY = {
    f"GIT_{role}_{field}": value
    for role in ("AUTHOR", "COMMITTER")
    for field, value in (("NAME", "Template"), ("EMAIL", "template@localhost"))
}
_PLACES = ("GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE", "GIT_PREFIX", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY")
"""Where git lets its hooks look; elsewhere they lead astray."""

_NO_BYTE_CODE = ":(exclude,glob)**/__pycache__/**"
"""What Python leaves beside the program of a render when it runs."""


def surroundings() -> dict[str, str]:
    """Return the environment of this process without what a hook of git is told about its repository."""
    return {name: value for name, value in os.environ.items() if name not in _PLACES}


@dataclass(frozen=True, slots=True)
class Project:
    """A folder with an answers file in a git repository: the whole of it, or a folder of a monorepo.

    Attributes:
        path: The folder.
        prefix: Where it lies in the repository: empty, or ending in a slash.
        index: The file of another index than the usual one: that of a commit which is being made.
    """

    path: Path
    prefix: str
    index: str = ""

    @classmethod
    def at(cls, path: Path, *, hooked: bool = False) -> "Project":
        """Return the project of a folder; within a hook, with the index of the commit that is being made.

        Raises:
            RefusedError: The folder is no project that could be updated.
        """
        if not (path / ANSWERS).is_file():
            raise RefusedError(
                f"{path} has no {ANSWERS}: it was not made by the template, or has left it. "
                "See the template's pages on adopting and leaving."
            )
        done = _git(path, "rev-parse", "--show-prefix")
        if "not a git repository" in done.stderr:
            raise RefusedError(f"{path} is in no git repository: git init && git add -A && git commit")
        if done.returncode != 0:
            raise RefusedError(f"git cannot look at {path}: {done.stderr.strip()}")
        top = _git(path, "rev-parse", "--show-toplevel").stdout.removesuffix("\n")
        index = os.environ.get("GIT_INDEX_FILE", "") if hooked else ""
        return cls(path, done.stdout.removesuffix("\n"), str(Path(top) / index) if index else "")

    def has_commits(self) -> bool:
        """Return whether anything is committed."""
        return self.tries("rev-parse", "--verify", "--quiet", "HEAD") is None

    def git(self, *words: str, env: Mapping[str, str] | None = None, typed: str | None = None) -> str:
        """Return what a git command printed.

        Raises:
            RefusedError: The command failed; the text is what git said.
        """
        index = {"GIT_INDEX_FILE": self.index} if self.index else {}
        done = _git(self.path, *words, env={**index, **(env or {})}, typed=typed)
        if done.returncode != 0:
            raise RefusedError(f"git {words[0]}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def tries(self, *words: str) -> str | None:
        """Return None when a git command succeeded, otherwise what it said."""
        done = _git(self.path, *words, env=_IDENTITY)
        return None if done.returncode == 0 else done.stderr.strip()

    def lines(self, *words: str) -> list[str]:
        """Return what a git command prints with `-z`, piece by piece."""
        return [line for line in self.git(*words).split("\0") if line]

    def unmerged(self) -> list[str]:
        """Return the files that git lists with conflicts, sorted."""
        return sorted(set(self.lines("diff", "--name-only", "--relative", "--diff-filter=U", "-z", "--", ".")))

    def answers(self) -> bytes:
        """Return the answers file as it is committed.

        Raises:
            RefusedError: It is not committed, or nothing is.
        """
        if not self.has_commits():
            raise RefusedError("Nothing is committed yet: git add -A && git commit")
        entry = self.tree("HEAD").get(ANSWERS)
        if entry is None:
            raise RefusedError(f"{ANSWERS} is not committed: git add {ANSWERS} && git commit")
        return self.text(entry)

    def refuse_dirty(self) -> None:
        """Refuse changes that are not committed: they would mix with the update, or go with it when abandoned."""
        hidden = [
            entry[2:] for entry in self.lines("ls-files", "-v", "-z", "--", ".") if not entry.startswith(("H", "M"))
        ]
        if hidden:
            raise RefusedError(
                f"git is told not to look at {len(hidden)} files, such as {hidden[0]}: end that first "
                "(git update-index --no-assume-unchanged, --no-skip-worktree; git sparse-checkout disable)"
            )
        words = ("status", "--porcelain", "--untracked-files=no")
        untracked = self.lines("ls-files", "--others", "--exclude-standard", "-z", "--", ".")
        changed = [*(line[3:] for line in self.git(*words).splitlines()), *untracked]
        if changed:
            raise RefusedError(
                f"{len(changed)} files have changes that are not committed, such as {changed[0]}. Commit or stash them "
                f"first (git stash --include-untracked). To abandon an update that was begun: {ABANDON}"
            )

    def tree(self, revision: str) -> Tree:
        """Return the files of the project in a commit; `:` stands for the index."""
        if revision == ":":
            return listed(self.git("ls-files", "--stage", "-z", "--", "."))
        return listed(self.git("ls-tree", "-r", "-z", revision, "--", "."))

    def text(self, entry: Entry) -> bytes:
        """Return the content of a file.

        Raises:
            RefusedError: The repository does not have it.
        """
        done = _run(self.path, "cat-file", "blob", entry[1])
        if done.returncode != 0:
            raise RefusedError(f"git cat-file: {done.stderr.decode(errors='replace').strip()}")
        return done.stdout

    def store(self, folder: Path) -> Tree:
        """Put the files of a folder into the repository's objects, and return them; the index stays as it is."""
        with self._index() as env:
            work = {**env, "GIT_WORK_TREE": str(folder), "GIT_DIR": self._git_dir()}
            # run in the folder: attributes and line ends are those of the rendered files
            done = _git(folder, "add", "--all", "--force", "--", ".", _NO_BYTE_CODE, env=work)
            if done.returncode != 0:
                raise RefusedError(f"git add: {done.stderr.strip()}")
            return listed(_git(folder, "ls-files", "--stage", "-z", env=work).stdout)

    def commit_of(self, tree: Tree, message: str, *parents: str) -> str:
        """Return a commit that no branch holds, with these files where the project lies."""
        with self._index() as env:
            lines = "".join(f"{mode} {blob}\t{self.prefix}{path}\0" for path, (mode, blob) in tree.items())
            self.git("update-index", "-z", "--add", "--index-info", env=env, typed=lines)
            written = self.git("write-tree", env=env).strip()
        words = [word for parent in parents for word in ("-p", parent)]
        return self.git("commit-tree", written, *words, "-m", message, env=_IDENTITY).strip()

    def _git_dir(self) -> str:
        return self.git("rev-parse", "--absolute-git-dir").strip()

    @contextmanager
    def _index(self) -> Iterator[dict[str, str]]:
        with tempfile.TemporaryDirectory(prefix="index-") as folder:
            yield {"GIT_INDEX_FILE": str(Path(folder) / "index")}


def listed(told: str) -> Tree:
    """Return the files that `git ls-files --stage -z` or `git ls-tree -r -z` tells of."""
    tree: Tree = {}
    for entry in filter(None, told.split("\0")):
        meta, path = entry.split("\t", 1)
        # mode, blob and stage; of a tree mode, type and blob
        mode, second, third = meta.split()
        tree[path] = (mode, third if second in ("blob", "commit") else second)
    return tree


def _git(
    path: Path, *words: str, env: Mapping[str, str] | None = None, typed: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run git; names that are no text go through unchanged."""
    given = None if typed is None else typed.encode("utf-8", "surrogateescape")
    done = _run(path, *words, env=env, typed=given)
    said = (stream.decode("utf-8", "surrogateescape") for stream in (done.stdout, done.stderr))
    return subprocess.CompletedProcess(done.args, done.returncode, *said)


def _run(
    path: Path, *words: str, env: Mapping[str, str] | None = None, typed: bytes | None = None
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        ["git", "-c", "core.quotePath=false", *words],
        cwd=path,
        env={**surroundings(), "LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", **(env or {})},
        input=typed,
        stdin=subprocess.DEVNULL if typed is None else None,
        capture_output=True,
        check=False,
    )
