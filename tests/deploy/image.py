"""The Dockerfile played without a container engine: ``make image-check``, some minutes, as root on Debian or Ubuntu.

Each base image is stood in for by a root file system of Debian's packages of the same release; its
digest cannot be had here. Python is Debian's 3.11 instead of the one that the image is named for,
and Rust is that of this machine. Everything else is as an engine does it: stages, COPY with
.dockerignore, RUN in namespaces of its own, ENV, WORKDIR.

What comes out is run as the chart runs it: as the user of the image, first process of its
namespace, no capability, no new rights, and a root that nothing can be written to. It says its
version, checks settings, answers HEALTHCHECK, and two replicas deliver samples by the commands of
``docker-compose.yml``, from a real Apache Kafka. The network is this machine's.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tests.cache import kept
from tests.deploy import compose
from tests.deploy.dockerfile import Ignore, Instruction, Stage, Unsupported, stages
from tests.integration.kafka.cluster import Cluster

__all__ = ["Image", "built", "main"]

_CHECKOUT = Path(__file__).parents[2]
_RELEASE = "bookworm"
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_TOOLCHAIN = "/usr/local/toolchain"
"""Where the machine's Rust is seen in the stage that compiles."""

_BASES = {
    f"python:3.11-slim-{_RELEASE}": ("ca-certificates", "netbase", "python3.11-venv", "tzdata"),
    f"rust:1.90-slim-{_RELEASE}": ("ca-certificates", "gcc", "libc6-dev"),
}
"""The packages that stand for each base image, beside Debian's essential ones."""

_OF_THE_MACHINE = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE", "PIP_CERT", "PIP_INDEX_URL")
"""Variables that a RUN is given too, as an engine gives those of a proxy."""

_ENTER = r"""
set -e
root=$1 mode=$2 binds=$3; shift 3
mount --bind "$root" "$root"
mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
mount -t tmpfs -o mode=755,size=64k devices "$root/dev"
for device in null zero full random urandom; do
    : > "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
ln -s /proc/self/fd "$root/dev/fd"
for bind in $binds; do mount --bind "${bind%%=*}" "$root${bind#*=}"; done
if [ "$mode" = ro ]; then
    mount -o remount,bind,ro "$root"
    mount -o remount,ro "$root/dev"
fi
exec chroot "$root" "$@"
"""
"""Run in new namespaces: makes what a container sees of the system, and becomes the command."""


@dataclass(frozen=True, slots=True)
class Image:
    """A root file system that the Dockerfile made, and how it is to be run."""

    root: Path
    environment: Mapping[str, str]
    final: Stage
    added_bytes: int
    """What the last stage adds to its base."""

    def command(self, words: Sequence[str]) -> list[str]:
        """Return what runs words as the chart does."""
        user, _, group = self.final.last("USER").text.partition(":")
        dropped = ["--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"]
        nobody = ["setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups", *dropped]
        return _entered(self.root, "ro", {}, [*nobody, *words])

    def start(self, words: Sequence[str], environment: Mapping[str, str], output: IO[bytes]) -> subprocess.Popen[bytes]:
        """Start the image with arguments for its entry point."""
        command = self.command([*self.final.last("ENTRYPOINT").exec_form, *words])
        given = {**self.environment, **environment}
        return subprocess.Popen(command, env=given, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)

    def run(self, words: Sequence[str], environment: Mapping[str, str]) -> tuple[int, str]:
        """Run something in it other than the entry point; return its exit code and what it wrote."""
        given = {**self.environment, **environment}
        ended = subprocess.run(self.command(words), env=given, capture_output=True, text=True, check=False)
        return ended.returncode, ended.stdout + ended.stderr

    def entered(self, words: Sequence[str], environment: Mapping[str, str] | None = None) -> tuple[int, str]:
        """Run the entry point with arguments to its end."""
        return self.run([*self.final.last("ENTRYPOINT").exec_form, *words], environment or {})


def built(directory: Path, say: Callable[[str], None]) -> Image:
    """Play the Dockerfile of the checkout, stage by stage, in a directory."""
    ignore = Ignore((_CHECKOUT / ".dockerignore").read_text("utf-8"))
    roots: dict[str, Path] = {}
    for number, stage in enumerate(stages((_CHECKOUT / "Dockerfile").read_text("utf-8"))):
        began, base, root = time.monotonic(), _base(stage.base), directory / f"stage-{number}"
        _copied_root(base, root)
        environment = _played(stage, root, roots, ignore)
        roots[stage.name] = root
        say(f"stage {stage.name or 'of the image'}, from {stage.base}: {time.monotonic() - began:.0f} s")
    return Image(root, environment, stage, _bytes(root) - _bytes(base))


def _played(stage: Stage, root: Path, roots: Mapping[str, Path], ignore: Ignore) -> dict[str, str]:
    rust = stage.base.startswith("rust:")
    before = {"PATH": f"{_TOOLCHAIN}/bin:{_PATH}", "CARGO_HOME": "/usr/local/cargo"} if rust else {"PATH": _PATH}
    environment, directory = before, Path("/")
    for one in stage.instructions:
        if one.name == "COPY":
            source = roots[one.flags["from"]] if "from" in one.flags else _CHECKOUT
            _copy(one, source, root, directory, Ignore("") if "from" in one.flags else ignore)
        elif one.name == "WORKDIR":
            directory /= one.text
            (root / directory.relative_to("/")).mkdir(parents=True, exist_ok=True)
        elif one.name == "ENV":
            environment = Stage("", "", (one,)).environment(environment)
        elif one.name == "RUN":
            binds = {_sysroot(): _TOOLCHAIN} if rust else {}
            _run(one, root, environment, directory, binds)
    return environment


def _run(one: Instruction, root: Path, environment: Mapping[str, str], directory: Path, binds: Mapping[str, str]) -> None:
    machine = {name: value for name in _OF_THE_MACHINE if (value := os.environ.get(name))}
    certificates = {path: path for name, path in machine.items() if name in {"SSL_CERT_FILE", "PIP_CERT"}}
    for place in (_TOOLCHAIN, *certificates.values()):
        _mount_point(root, place, is_directory=place == _TOOLCHAIN)
    command = _entered(root, "rw", {**binds, **certificates}, ["sh", "-c", f"cd {directory} && {one.text}"])
    ended = subprocess.run(
        command, env={**environment, **machine, "HOME": "/root"}, capture_output=True, text=True, check=False
    )
    (root / _TOOLCHAIN.lstrip("/")).rmdir()
    if ended.returncode:
        raise SystemExit(f"RUN {one.text}\nended with {ended.returncode}:\n{(ended.stdout + ended.stderr)[-4000:]}")


def _copy(one: Instruction, source: Path, root: Path, directory: Path, ignore: Ignore) -> None:
    *names, target = one.words
    place = root / (directory / target).relative_to("/")
    for name in names:
        copied = source / name.lstrip("/")
        if copied.is_dir():
            shutil.copytree(copied, place, symlinks=True, dirs_exist_ok=True, ignore=_left_out(source, ignore))
        elif ignore.leaves_out(Path(name)):
            raise SystemExit(f"COPY {name}: .dockerignore leaves it out")
        else:
            into = place / copied.name if target.endswith("/") or place.is_dir() else place
            into.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(copied, into)


def _left_out(context: Path, ignore: Ignore) -> Callable[[str, list[str]], list[str]]:
    def names(directory: str, found: list[str]) -> list[str]:
        place = Path(directory).relative_to(context)
        return [name for name in found if ignore.leaves_out(place / name)]

    return names


def _entered(root: Path, mode: str, binds: Mapping[str, str], command: Sequence[str]) -> list[str]:
    namespaces = ["--mount", "--pid", "--ipc", "--uts", "--fork", "--kill-child"]
    pairs = " ".join(f"{here}={there}" for here, there in binds.items())
    return ["unshare", *namespaces, "--", "sh", "-c", _ENTER, "enter", str(root), mode, pairs, *command]


def _mount_point(root: Path, place: str, *, is_directory: bool) -> None:
    inside = root / place.lstrip("/")
    if is_directory:
        inside.mkdir(parents=True, exist_ok=True)
    elif not inside.exists():
        raise SystemExit(f"{place}, which this machine's settings name, is no file of the base image")


def _base(name: str) -> Path:
    name = name.partition("@")[0]  # no registry can be asked for what a digest names
    if name not in _BASES:
        raise Unsupported(f"no packages are known that stand for the image {name}: add them to {__name__}")
    return kept(f"base-{name.replace(':', '-')}", lambda directory: _debian(directory, _BASES[name])) / "root"


def _debian(directory: Path, packages: Sequence[str]) -> None:
    """Make a root file system of Debian's packages."""
    _done(["apt-get", "download", "--quiet", "mmdebstrap"], directory)
    (package,) = directory.glob("mmdebstrap_*.deb")
    _done(["dpkg-deb", "--extract", str(package), "tool"], directory)
    options = ["--mode=root", "--variant=minbase", f"--include={','.join(packages)}"]
    _done(["perl", "tool/usr/bin/mmdebstrap", *options, _RELEASE, "root"], directory)
    if "python3.11-venv" in packages:  # where the image has it
        for command in ("python", "python3"):
            (directory / "root/usr/local/bin" / command).symlink_to("/usr/bin/python3.11")
    package.unlink()
    shutil.rmtree(directory / "tool")


def _copied_root(base: Path, root: Path) -> None:
    _done(["cp", "--archive", "--reflink=auto", str(base), str(root)], root.parent)


def _sysroot() -> str:
    return _done(["rustc", "--print", "sysroot"], _CHECKOUT).strip()


def _bytes(root: Path) -> int:
    return int(_done(["du", "--summarize", "--bytes", str(root)], root.parent).split()[0])


def _done(command: Sequence[str], directory: Path) -> str:
    try:
        ended = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise SystemExit(f"make image-check needs {command[0]}, on a Debian or Ubuntu with Rust") from None
    if ended.returncode:
        raise SystemExit(f"{' '.join(command)}\nended with {ended.returncode}:\n{(ended.stdout + ended.stderr)[-4000:]}")
    return ended.stdout


class _Container:
    """The image as a service that was started; signals go to its first process, as an engine's do."""

    def __init__(self, image: Image, words: Sequence[str], environment: Mapping[str, str], output: Path) -> None:
        with output.open("wb") as written:
            self._process = image.start(words, environment, written)

    def terminate(self) -> None:
        (first,) = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        os.kill(int(first), signal.SIGTERM)

    def wait(self, timeout: float) -> int:
        return self._process.wait(timeout)

    def kill(self) -> None:
        self._process.kill()  # and the kernel everything in its namespace


def _expect(fulfilled: object, what: str, said: str = "") -> None:
    print(f"{'ok    ' if fulfilled else 'WRONG '} {what}", flush=True)
    if not fulfilled:
        raise SystemExit(said[-4000:] or 1)


def _tell_of(image: Image) -> None:
    version, said = image.entered(["--version"])
    _expect(version == 0 and said.startswith("connector "), f"connector --version: {said.strip()}", said)
    code, said = image.entered(["check"])
    clear = "KAFKA_BOOTSTRAP_SERVERS" in said and "AMAZON_ACCOUNT_ID" in said and "Traceback" not in said
    _expect(code == 2 and clear, f"connector check without settings: exit code {code}, names what is missing", said)
    code, said = image.run(["sh", "-c", "id --user; touch /tmp/x /opt/connector/x /dev/x"], {})
    _expect(
        code and said.count("Read-only file system") == 3 and said.startswith("10001\n"),
        "user 10001 can write nothing",
        said,
    )
    code, said = image.run(["python", "-c", "import boto3, google.auth, azure.identity, connector_native"], {})
    _expect(code == 0, "the extras and the native part can be imported", said)
    code, said = image.run(["sh", "-c", "ls /opt/connector/bin; find /opt/connector -name '*.dist-info'"], {})
    builders = [tool for tool in ("hatchling", "setuptools", "pip-", "bin/pip") if tool in said]
    _expect(code == 0 and not builders, "no tool of the build is left", f"{builders}\n{said}")


def _healthy(image: Image, services: Mapping[str, int]) -> None:
    words = image.final.last("HEALTHCHECK").text.partition("CMD ")[2]
    check = Instruction("HEALTHCHECK", words).exec_form
    for name, port in services.items():
        code, said = image.run(check, {"LISTEN_PORT": str(port)})
        _expect(code == 0, f"HEALTHCHECK of {name}: healthy", said)
    code, said = image.run(check, {"LISTEN_PORT": "9"})
    _expect(code != 0, "HEALTHCHECK where nothing listens: not healthy", said)


def _delivers(image: Image, directory: Path) -> None:
    def start(words: Sequence[str], environment: Mapping[str, str], output: Path) -> compose.Running:
        return _Container(image, words, environment, output)

    def meanwhile(sandbox: int, replicas: Sequence[int]) -> None:
        _healthy(image, {f"replica {number}": port for number, port in enumerate(replicas)})
        (test,) = [compose.ours()["sandbox"]["healthcheck"]["test"][1:]]
        code, said = image.run([word.replace(":8090/", f":{sandbox}/") for word in test], {})
        _expect(code == 0, "healthcheck of the sandbox: healthy", said)

    with Cluster() as cluster:
        try:
            account = compose.play(start, cluster.bootstrap_servers, directory, "conversions", meanwhile)
        except BaseException:
            for log in sorted(directory.glob("*.log")):
                print(f"── {log.name}\n{log.read_text('utf-8', 'replace')[-2000:]}", file=sys.stderr)
            raise
    counts = f"{account.records} records, {account.delivered} delivered, {account.accepted} accepted by the sandbox"
    once = account.accepted == account.accepted_ids == account.delivered
    _expect(once and account.accounted_for, f"{account.replicas} replicas: {counts}, each once; the audit accounts for all")
    _expect(set(account.exit_codes) == {0}, "SIGTERM to the first process ends each with 0", str(account.exit_codes))


def main() -> int:
    """Build, tell what was built, and run it; return the exit code."""
    if os.geteuid() != 0:
        print("make image-check makes file systems and namespaces: run it as root", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="image-") as scratch:
        image = built(Path(scratch), lambda line: print(f"      {line}", flush=True))
        _tell_of(image)
        _delivers(image, Path(scratch))
        bytecode = sum(path.stat().st_size for path in (image.root / "opt/connector").rglob("*.pyc"))
        print(f"\nThe image adds {image.added_bytes / 1e6:.0f} MB to its base, {bytecode / 1e6:.0f} MB of them bytecode.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
