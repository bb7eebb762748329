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
ABANDON = "git reset --hard"
"""What abandons an update: the tree was clean before, and new files are staged."""

type Entry = tuple[str, str]
"""Mode and blob of a file, as git writes them."""
type Tree = dict[str, Entry]
"""Entries by path, relative to the project and with slashes."""

_IDENTITY = {
    f"GIT_{role}_{field}": value
    for role in ("AUTHOR", "COMMITTER")
    for field, value in (("NAME", "Template"), ("EMAIL", "template@localhost"))
}


@dataclass(frozen=True, slots=True)
class Project:
    """A folder with an answers file in a git repository: the whole of it, or a folder of a monorepo.

    Attributes:
        path: The folder.
        prefix: Where it lies in the repository: empty, or ending in a slash.
    """

    path: Path
    prefix: str

    @classmethod
    def at(cls, path: Path) -> "Project":
        """Return the project of a folder.

        Raises:
            RefusedError: The folder is no project that could be updated.
        """
        if not (path / ANSWERS).is_file():
            raise RefusedError(
                f"{path} has no {ANSWERS}: it was not made by the template, or has left it. "
                "See the template's pages on adopting and leaving."
            )
        done = _git(path, "rev-parse", "--show-prefix")
        if done.returncode != 0:
            raise RefusedError(f"{path} is in no git repository: git init && git add -A && git commit")
        project = cls(path, done.stdout.removesuffix("\n"))
        if _git(path, "rev-parse", "--verify", "--quiet", "HEAD").returncode != 0:
            raise RefusedError("Nothing is committed yet: git add -A && git commit")
        return project

    def git(self, *words: str, env: Mapping[str, str] | None = None, typed: str | None = None) -> str:
        """Return what a git command printed.

        Raises:
            RefusedError: The command failed; the text is what git said.
        """
        done = _git(self.path, *words, env=env, typed=typed)
        if done.returncode != 0:
            raise RefusedError(f"git {words[0]}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def tries(self, *words: str) -> str | None:
        """Return None when a git command succeeded, otherwise what it said."""
        done = _git(self.path, *words, env=_IDENTITY)
        return None if done.returncode == 0 else done.stderr.strip()

    def lines(self, *words: str) -> list[str]:
        """Return the paths that a git command prints with `-z`, relative to the project."""
        return [path.removeprefix(self.prefix) for path in self.git(*words).split("\0") if path]

    def unmerged(self) -> list[str]:
        """Return the files that git lists with conflicts, sorted."""
        return sorted(set(self.lines("diff", "--name-only", "--diff-filter=U", "-z", "--", ".")))

    def answers(self) -> bytes:
        """Return the answers file as it is committed.

        Raises:
            RefusedError: It is not committed.
        """
        entry = self.tree("HEAD").get(ANSWERS)
        if entry is None:
            raise RefusedError(f"{ANSWERS} is not committed: git add {ANSWERS} && git commit")
        return self.text(entry)

    def refuse_dirty(self) -> None:
        """Refuse changes that are not committed: they would mix with the update, or go with it when abandoned."""
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
            listed = self.lines("ls-files", "--stage", "--full-name", "-z", "--", ".")
            found = (entry.split("\t", 1) for entry in listed)
            return {path.removeprefix(self.prefix): (meta.split()[0], meta.split()[1]) for meta, path in found}
        listed = self.lines("ls-tree", "-r", "--full-name", "-z", revision, "--", ".")
        found = (entry.split("\t", 1) for entry in listed)
        return {path.removeprefix(self.prefix): (meta.split()[0], meta.split()[2]) for meta, path in found}

    def text(self, entry: Entry) -> bytes:
        """Return the content of a file."""
        words = ["git", "cat-file", "blob", entry[1]]
        return subprocess.run(words, cwd=self.path, capture_output=True, check=True).stdout

    def store(self, folder: Path) -> Tree:
        """Put the files of a folder into the repository's objects, and return them; the index stays as it is."""
        with self._index() as env:
            work = {**env, "GIT_WORK_TREE": str(folder), "GIT_DIR": self._git_dir()}
            # run in the folder: attributes and line ends are those of the rendered files
            done = _git(folder, "add", "--all", "--force", "--", ".", env=work)
            if done.returncode != 0:
                raise RefusedError(f"git add: {done.stderr.strip()}")
            listed = _git(folder, "ls-files", "--stage", "-z", env=work).stdout.split("\0")
        found = (entry.split("\t", 1) for entry in listed if entry)
        return {path: (meta.split()[0], meta.split()[1]) for meta, path in found}

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


def _git(
    path: Path, *words: str, env: Mapping[str, str] | None = None, typed: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run git; texts go through unchanged, and no hook of the machine's configuration asks anything."""
    return subprocess.run(
        ["git", "-c", "core.quotePath=false", *words],
        cwd=path,
        env={**os.environ, "LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", **(env or {})},
        input=typed,
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="surrogateescape",
        check=False,
    )
