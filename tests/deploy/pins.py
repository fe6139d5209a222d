"""Names the base images of the Dockerfile by digest: ``make pin-images``, with Docker and its buildx.

A tag may be moved, and each architecture would be built from what it means at that moment. The
release runs this before it builds. It uses the standard library alone, like ``tests.release``.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

__all__ = ["Unknown", "digest_of", "main", "pinned"]

_DOCKERFILE = Path(__file__).parents[2] / "Dockerfile"
_FROM = re.compile(r"^(FROM\s+)([^\s@]+)(?:@sha256:[0-9a-f]{64})?(?=\s|$)", re.MULTILINE)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class Unknown(Exception):
    """Why an image has no digest."""


def pinned(dockerfile: str, digest: Callable[[str], str]) -> str:
    """Return a Dockerfile whose stages begin with what their tags mean now.

    Raises:
        Unknown: from ``digest``; or the file has no stage that begins with an image.
    """
    earlier = set(re.findall(r"^FROM\s+\S+\s+AS\s+(\S+)", dockerfile, re.MULTILINE))
    known: dict[str, str] = {}

    def named(found: re.Match[str]) -> str:
        image = found[2]
        if image in earlier or image == "scratch":
            return found[0]
        if image not in known:
            known[image] = digest(image)
        return f"{found[1]}{image}@{known[image]}"

    made = _FROM.sub(named, dockerfile)
    if not known:
        raise Unknown("the Dockerfile begins with no image")
    return made


def digest_of(image: str) -> str:
    """Return the digest that an image's tag has in its registry, of all its architectures together.

    Raises:
        Unknown: Docker is missing, the registry has no such image, or the answer names no digest.
    """
    command = ["docker", "buildx", "imagetools", "inspect", image, "--format", "{{json .Manifest}}"]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise Unknown("docker is missing: install it, with buildx") from None
    if ended.returncode:
        raise Unknown(f"{image}: {ended.stderr.strip() or f'docker ended with {ended.returncode}'}")
    try:
        digest = str(json.loads(ended.stdout)["digest"])
    except (ValueError, KeyError, TypeError):
        digest = ""
    if not _DIGEST.fullmatch(digest):
        raise Unknown(f"{image}: docker names no digest of it")
    return digest


def main() -> int:
    """Rewrite the Dockerfile; return 1, and change nothing, if a digest cannot be had."""
    try:
        made = pinned(_DOCKERFILE.read_text("utf-8"), digest_of)
    except Unknown as unknown:
        print(unknown, file=sys.stderr)
        return 1
    _DOCKERFILE.write_text(made, "utf-8")
    print("\n".join(line for line in made.splitlines() if line.startswith("FROM ")))
    return 0


if __name__ == "__main__":
    sys.exit(main())
