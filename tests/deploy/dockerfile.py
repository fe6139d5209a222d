"""What a Dockerfile and a .dockerignore say, for tests that have no container engine to ask."""

from __future__ import annotations

import json
import re
import shlex
import string
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

__all__ = ["Ignore", "Instruction", "Stage", "Unsupported", "stages"]

_KNOWN = frozenset(
    {"CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "LABEL", "RUN", "STOPSIGNAL", "USER", "WORKDIR"}
)


class Unsupported(Exception):
    """The file has what this reader does not know; nothing is passed over in silence."""


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction, its continued lines joined and its flags apart."""

    name: str
    text: str
    flags: Mapping[str, str] = field(default_factory=dict)

    @property
    def words(self) -> list[str]:
        """The arguments: of the JSON form as they are, else by the shell's quotes."""
        return self.exec_form if self.text.startswith("[") else shlex.split(self.text)

    @property
    def exec_form(self) -> list[str]:
        """The arguments of the JSON form; the form that goes through a shell is refused."""
        if not self.text.startswith("["):
            raise Unsupported(f"{self.name} goes through a shell, which would stand between it and signals: {self.text}")
        words: list[str] = json.loads(self.text)
        return words


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage: what it begins with, its name if it has one, and its instructions after FROM."""

    base: str
    name: str
    instructions: tuple[Instruction, ...]

    def last(self, name: str) -> Instruction:
        """Return the instruction of a name that counts, which is the last."""
        found = [one for one in self.instructions if one.name == name]
        if not found:
            raise Unsupported(f"the stage from {self.base} has no {name}")
        return found[-1]

    def environment(self, before: Mapping[str, str]) -> dict[str, str]:
        """Return the variables of a stage whose base has those before."""
        made = dict(before)
        for one in self.instructions:
            if one.name == "ENV":
                pairs = [word.partition("=") for word in one.words]
                made |= {name: string.Template(value).substitute(made) for name, _, value in pairs}
        return made


def stages(text: str) -> list[Stage]:
    """Return the stages of a Dockerfile, in order."""
    found: list[tuple[str, str, list[Instruction]]] = []
    for one in _instructions(text):
        if one.name == "FROM":
            base, _, name = one.text.partition(" AS ")
            found.append((base.strip(), name.strip(), []))
        elif not found:
            raise Unsupported(f"{one.name} stands before FROM")
        else:
            found[-1][2].append(one)
    return [Stage(base, name, tuple(instructions)) for base, name, instructions in found]


def _instructions(text: str) -> Iterator[Instruction]:
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = re.sub(r"[ \t]*\\\n[ \t]*", " ", "\n".join(lines))
    for line in joined.splitlines():
        name, _, rest = line.strip().partition(" ")
        if name not in _KNOWN or "<<" in rest:
            raise Unsupported(f"not known to this reader: {line}")
        flags = {}
        while flag := re.match(r"--([a-z-]+)=(\S+)\s*", rest):
            flags[flag[1]] = flag[2]
            rest = rest[flag.end() :]
        yield Instruction(name, rest.strip(), flags)


@dataclass(frozen=True)
class Ignore:
    """A .dockerignore: which files a build is not given. The last pattern that fits a path or a parent of it decides."""

    text: str

    @cached_property
    def _patterns(self) -> list[tuple[bool, re.Pattern[str]]]:
        lines = [line.strip() for line in self.text.splitlines() if line.strip() and not line.startswith("#")]
        return [(not line.startswith("!"), _pattern(line.removeprefix("!").strip("/"))) for line in lines]

    def leaves_out(self, path: Path) -> bool:
        """Tell whether a file or directory, by its path from the context, stays outside."""
        places = [path.as_posix(), *(parent.as_posix() for parent in path.parents if parent.name)]
        fitting = [out for out, pattern in self._patterns if any(pattern.fullmatch(place) for place in places)]
        return bool(fitting) and fitting[-1]


def _pattern(line: str) -> re.Pattern[str]:
    """Return what a pattern means: ``*`` is part of one name, ``**`` any number of directories."""
    if re.search(r"[\[\]?\\]", line):
        raise Unsupported(f"not known to this reader: {line}")
    pieces = [re.escape(piece).replace(r"\*", "[^/]*") for piece in line.split("**/")]
    return re.compile("(?:.*/)?".join(pieces).replace("[^/]*[^/]*", ".*"))
