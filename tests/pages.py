"""Pages: what a document links to, names and tells its reader to do, and a reader who does it."""

import json
import re
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rendering import clean_environment

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
SPAN = re.compile(r"`([^`\n]+)`")
WRITTEN = re.compile(r"Write `([^`]+)`:\s*\Z", re.IGNORECASE)
EDITED = re.compile(r"In `([^`]+)`,\s+(above|instead of)\s+`([^`]+)`:\s*\Z", re.IGNORECASE)
QUOTED = re.compile(r"From `([^`]+)`:\s*\Z", re.IGNORECASE)
MADE = re.compile(r"new-(?:provider \w+|object|resource) (\w+)")
MAKES = {"just api-snapshot": "docs/openapi.json"}
"""What else commands make."""

LEFT_OUT = re.compile(r"^ *\.\.\.\n", re.MULTILINE)
"""A line of dots: what stands there is not shown."""

VOLATILE = re.compile(r"\b(gen|dia|req|job)_[a-z0-9]+|\d{4}-\d\d-\d\dT[\d:.]+Z")
START_TIMEOUT_S = 60


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block, with the text between it and the block before."""

    language: str
    text: str
    before: str

    @property
    def commands(self) -> list[str]:
        """Return the lines that a shell would run, without comments; what a backslash continues is one line."""
        lines = [re.sub(r"\s+# .*$", "", line) for line in re.sub(r"\s*\\\n\s*", " ", self.text).splitlines()]
        if self.language in ("bash", "sh"):
            return [line for line in lines if line and not line.startswith("#")]
        if self.language == "console":
            return [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
        return [line for line in lines if line.startswith("uv ")] if not self.language else []


def blocks(text: str) -> Iterator[Block]:
    """Yield the fenced blocks of a page in order."""
    end = 0
    for match in FENCE.finditer(text):
        yield Block(match[1], match[2], text[end : match.start()])
        end = match.end()


def is_meant(command: str, name: str) -> bool:
    """Tell whether a command is the one of a list, where dots at the end of a name stand for anything."""
    return command.startswith(name.removesuffix("...")) if name.endswith(" ...") else command == name


def broken_links(page: Path) -> list[str]:
    """Return the relative links of a page that lead nowhere, to a missing headline included."""
    text = page.read_text(encoding="utf-8")
    broken = []
    for link in LINK.findall(FENCE.sub("", text)):
        path, _, anchor = link.partition("#")
        if re.match(r"[a-z]+:", link):
            continue
        target = page.parent / path if path else page
        if not target.exists() or (anchor and anchor not in headlines(target)):
            broken.append(link)
    return broken


def headlines(page: Path) -> set[str]:
    """Return the anchors of a page."""
    found = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", text.lower()).replace(" ", "-") for text in found}


def missing_paths(page: Path, roots: list[Path], *, followed: bool = False) -> list[str]:
    """Return the paths in code spans that begin below a root and exist below none; after a blank anything goes.

    What the page itself writes, edits or has made exists only after somebody `followed` it.
    """
    text = page.read_text(encoding="utf-8")
    made = set() if followed else set(MADE.findall(text))
    deeds = [(WRITTEN, EDITED, QUOTED), (WRITTEN,)][followed]
    written = {found[1] for block in blocks(text) for deed in deeds if (found := deed.search(block.before))}
    written |= {path for command, path in MAKES.items() if command in text}
    missing = []
    for span in SPAN.findall(FENCE.sub("", text)):
        path = re.sub(r"(^|/)[^/]*[<*].*", "", span).removesuffix("/")
        if not re.fullmatch(r"[\w.{}-]+(/[\w.{}-]+)+", path) or span in written:
            continue
        if any(re.search(rf"(^|[/._]){name}([/.]|$)", path) for name in made):
            continue
        is_ours = any((root / path.split("/")[0]).exists() for root in roots)
        if is_ours and not any((root / name).exists() for root in roots for name in (path, f"{path}.jinja")):
            missing.append(span)
    return missing


def free_port() -> int:
    """Return a port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@dataclass(slots=True)
class Reader:
    """Somebody who does what a page says, line by line, in a folder; servers that they start stop with them."""

    folder: Path
    variables: Mapping[str, str]
    skipped: Mapping[str, str]
    replaced: Mapping[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    done: list[str] = field(default_factory=list)
    servers: list[subprocess.Popen[bytes]] = field(default_factory=list)
    exports: list[str] = field(default_factory=list)

    def follow(self, page: str, *, only_write: bool = False) -> None:
        """Write every file and run every command of a page; what a page promises as output has to come."""
        said = ""
        for block in blocks(page):
            if self._wrote(block) or only_write:
                continue
            if quoted := QUOTED.search(block.before):
                held_to(block.text, (self.folder / quoted[1]).read_text(encoding="utf-8"))
            elif block.language == "json" and not block.before.strip():
                assert masked(block.text) == masked(said)
            elif block.language == "console":
                held_to(block.text.partition("\n")[2], self._run(block.commands, check=False))
            elif block.commands:
                said = self._run(block.commands)

    def leave(self) -> None:
        """Stop what still runs."""
        for server in self.servers:
            server.terminate()
            server.wait(30)

    def _wrote(self, block: Block) -> bool:
        """Do what the text before a block says of a file; return whether it says anything."""
        if written := WRITTEN.search(block.before):
            path = self.folder / written[1]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
            return True
        if edited := EDITED.search(block.before):
            path = self.folder / edited[1]
            lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
            (at,) = (number for number, line in enumerate(lines) if line.strip() == edited[3])
            lines[at : at + (edited[2].lower() == "instead of")] = [block.text]
            path.write_text("".join(lines), encoding="utf-8")
        return edited is not None

    def _run(self, commands: list[str], *, check: bool = True) -> str:
        wanted = [command for command in commands if not any(is_meant(command, name) for name in self.skipped)]
        wanted = [self._meant(command) for command in wanted]
        self.done += wanted
        self.exports += [command for command in wanted if command.startswith("export ")]
        servers = [command for command in wanted if command.endswith(" serve")]
        rest = [command for command in wanted if command not in servers]
        script = "\n".join([*self.exports, *rest, f"pwd > '{self.folder}/.where'"])
        where = self.folder / ".where"
        run = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=self.folder,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert run.returncode == 0 or not check, f"{script}\n{run.stdout}\n{run.stderr}"
        if where.exists():
            self.folder = Path(where.read_text(encoding="utf-8").strip())
            where.unlink()
        for command in servers:
            self._serve(command)
        return run.stdout if check else run.stdout + run.stderr

    def _meant(self, command: str) -> str:
        usual = {"127.0.0.1:8000": f"127.0.0.1:{self.port}", "sleep 2": "sleep 10"}  # a machine may be busy
        for old, new in {**usual, **self.replaced}.items():
            command = command.replace(old, new)
        return command

    def _environment(self) -> dict[str, str]:
        stated = {name: value.format(port=self.port) for name, value in self.variables.items()}
        return clean_environment({"COOL_DOWN": "", **stated})  # floors of the template may be some days old

    def _serve(self, command: str) -> None:
        log = self.folder / ".server.log"
        with log.open("wb") as stream:
            server = subprocess.Popen(
                ["bash", "-c", "\n".join([*self.exports, f"exec {command}"])],
                cwd=self.folder,
                env=self._environment(),
                stderr=stream,
            )
        self.servers.append(server)
        limit = time.monotonic() + START_TIMEOUT_S
        while "server_started" not in log.read_text(encoding="utf-8"):
            assert server.poll() is None, log.read_text(encoding="utf-8")
            assert time.monotonic() < limit
            time.sleep(0.1)
        log.unlink()


def held_to(promised: str, text: str) -> None:
    """Check that a text has everything that is promised, in this order; a line of dots stands for what is left out."""
    end = 0
    for part in filter(None, (part.strip("\n") for part in LEFT_OUT.split(promised))):
        found = text.find(part, end)
        assert found >= 0, f"promised:\n{part}\ncame:\n{text}"
        end = found + len(part)


def masked(document: str) -> object:
    """Return a JSON document in which ids and times do not differ."""
    return json.loads(VOLATILE.sub("x", document))
