"""A real Apicurio Registry on loopback, which keeps what is registered in memory.

    with apicurio() as registry:
        registry.url        # "http://127.0.0.1:20411"
        registry.register("shop", "orders-value", schema)

The program (142 MB) comes from Maven Central once, into the user's cache; `pom.xml` beside this file names it.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import tarfile
import tempfile
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest

from tests.cache import kept
from tests.fetch import done
from tests.patience import eventually, patience

__all__ = ["Apicurio", "Registered", "apicurio"]

_HERE = Path(__file__).parent
_SHA256 = "3cda1b34aa020fb4ac4dd6a66018d757e81e437f97e20a1f92d366b70091c6ba"
"""Of the archive that `pom.xml` names."""
_START_SECONDS = 30.0
"""On an idle machine it takes 8 s."""
_LISTENS = re.compile(r"Listening on: (http://[0-9.:]+)").search
_ASK_SECONDS = 10.0

_JAVA_FLAGS = ("-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
_UNTIL_INPUT_ENDS = '"$@" & read -r _; kill -9 $!'
"""A shell that kills what it started when its standard input ends. However we end, our end of that pipe closes."""


class Registered(NamedTuple):
    """The two ids that Apicurio has for a schema."""

    global_id: int
    content_id: int


@dataclass(frozen=True, slots=True)
class Apicurio:
    """A registry that runs."""

    url: str

    def register(
        self, group: str, artifact: str, schema: Any, references: Sequence[tuple[str, str, str]] = ()
    ) -> Registered:
        """Register a schema by the registry's own API.

        Each reference is the full name of a type, and group and artifact of the schema whose first version has it.
        """
        named = [
            {"groupId": group, "artifactId": artifact, "version": "1", "name": name} for name, group, artifact in references
        ]
        asked = urllib.request.Request(  # noqa: S310 - the URL is ours, and http
            f"{self.url}/apis/registry/v2/groups/{quote(group, safe='')}/artifacts",
            json.dumps({"content": json.dumps(schema), "references": named}).encode(),
            {
                "Content-Type": "application/create.extended+json",
                "X-Registry-ArtifactId": artifact,
                "X-Registry-ArtifactType": "AVRO",
            },
        )
        with urllib.request.urlopen(asked, timeout=patience(_ASK_SECONDS)) as answer:  # noqa: S310 - the same
            made = json.load(answer)
        return Registered(made["globalId"], made["contentId"])


@contextmanager
def apicurio() -> Iterator[Apicurio]:
    """Run a registry."""
    archive = kept(f"apicurio-{hashlib.sha256((_HERE / 'pom.xml').read_bytes()).hexdigest()[:12]}", _download)
    (program,) = archive.glob("*-runner.jar")
    command = [_program("java"), *_JAVA_FLAGS, "-Dquarkus.http.host=127.0.0.1", "-Dquarkus.http.port=0"]
    with tempfile.NamedTemporaryFile(suffix=".log") as log:
        started = subprocess.Popen(
            ["sh", "-c", _UNTIL_INPUT_ENDS, "sh", *command, "-jar", str(program)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
        )
        try:
            yield Apicurio(_address(Path(log.name)))
        finally:
            started.communicate()


def _address(log: Path) -> str:
    """Wait until the registry says in its log that it listens, and return the address."""

    def said() -> str:
        listens = _LISTENS(log.read_text("utf-8", errors="replace"))
        return listens[1] if listens else ""

    try:
        return eventually(said, "Apicurio Registry listens", _START_SECONDS)
    except AssertionError as late:
        raise AssertionError(f"{late}\n{log.read_text('utf-8', errors='replace')[-3000:]}") from None


def _program(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.fail(f"Tests on a real Apicurio Registry need {name}: install a JDK (17 or newer) and Maven", pytrace=False)
    return path


def _download(directory: Path) -> None:
    command = [_program("mvn"), "-q", "-B", "-f", str(_HERE / "pom.xml"), "dependency:copy-dependencies"]
    command += [f"-DoutputDirectory={directory}"]
    done(command, _HERE, "Maven cannot download Apicurio Registry")
    (archive,) = directory.glob("*.tar.gz")
    with archive.open("rb") as content:
        found = hashlib.file_digest(content, "sha256").hexdigest()
    assert found == _SHA256, f"{archive.name} is not the archive that was tested: its SHA-256 is {found}"
    with tarfile.open(archive) as files:
        files.extractall(directory, filter="data")
    archive.unlink()
