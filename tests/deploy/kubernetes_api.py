"""The manifests before the code of an API server: ``make kubernetes-api``, some minutes the first time.

``admission/main.go`` is compiled from Kubernetes' own packages, whose versions its go.mod pins. It judges
what an API server judges before it stores a resource and JSON Schema does not know: whether selectors
match, whether mounts name volumes, how names are formed, what is allowed together, and whether a
namespace with Pod Security's level "restricted" takes the pods. Then it must refuse manifests that are
damaged on purpose. It is not part of ``make test``, because it compiles for minutes.
"""

from __future__ import annotations

import io
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tests.deploy import generated
from tests.fetch import go

__all__ = ["main"]

_PROGRAM = Path(__file__).parent / "admission"
_PLAIN = generated.CHECKOUT / "deploy/kubernetes"


def _pod(workload: Any) -> Any:
    return workload["spec"]["template"]["spec"]


def _container(workload: Any) -> Any:
    return _pod(workload)["containers"][0]


_DAMAGE: dict[str, tuple[Callable[[Any], object], str]] = {
    "a misspelt field": (lambda one: one["spec"].update(replica=3), 'unknown field "spec.replica"'),
    "a selector of other labels": (
        lambda one: one["spec"]["selector"]["matchLabels"].update({"app.kubernetes.io/name": "other"}),
        "`selector` does not match template `labels`",
    ),
    "a mount of no volume": (
        lambda one: _container(one)["volumeMounts"].append({"name": "gone", "mountPath": "/gone"}),
        'volumeMounts[1].name: Not found: "gone"',
    ),
    "a port with a long name": (
        lambda one: _container(one)["ports"][0].update(name="operations-and-metrics"),
        "must be no more than 15 characters",
    ),
    "a variable twice": (
        lambda one: _container(one)["env"].extend([{"name": "TZ", "value": "UTC"}, {"name": "TZ", "value": "CET"}]),
        "warning: spec.template.spec.containers[0].env[",
    ),
    "root": (lambda one: _pod(one)["securityContext"].update(runAsUser=0), "Pod Security restricted: runAsUser=0"),
    "a root that can be escalated to": (
        lambda one: _container(one)["securityContext"].update(allowPrivilegeEscalation=True),
        "Pod Security restricted: allowPrivilegeEscalation != false",
    ),
}
"""What is done to the plain workload, and the words by which it must be refused."""


def _compiled(directory: Path) -> Path:
    program = directory / "admission"
    ended = subprocess.run([go(), "build", "-o", str(program), "."], cwd=_PROGRAM, check=False)
    if ended.returncode:
        raise SystemExit("Kubernetes' code could not be compiled; it needs Go 1.26 or newer and the Go module proxy")
    return program


def _judged(program: Path, files: list[Path]) -> tuple[int, str]:
    ended = subprocess.run([str(program), *map(str, files)], capture_output=True, text=True, check=False)
    return ended.returncode, ended.stdout + ended.stderr


def _damaged(damage: Callable[[Any], object]) -> str:
    yaml = YAML(typ="safe")
    workload = yaml.load(_PLAIN / "workload.yaml")
    damage(workload)
    text = io.StringIO()
    yaml.dump(workload, text)
    return text.getvalue()


def main() -> int:
    """Judge every manifest, then every damaged one; return the exit code."""
    with tempfile.TemporaryDirectory(prefix="admission-") as scratch:
        directory = Path(scratch)
        program = _compiled(directory)
        rendered = []
        for values in generated.EXAMPLES:
            rendered.append(directory / values.name)
            rendered[-1].write_text(generated.rendered(values), "utf-8")
        code, said = _judged(program, [*sorted(_PLAIN.glob("*.yaml")), *rendered])
        print(f"{'WRONG ' if code else 'ok    '} {said.strip()}")
        missed = 0
        for name, (damage, words) in _DAMAGE.items():
            file = directory / "damaged.yaml"
            file.write_text(_damaged(damage), "utf-8")
            refused, said = _judged(program, [file])
            missed += not (refused and words in said)
            print(f"{'ok    ' if refused and words in said else 'WRONG '} refused: {name}: {said.splitlines()[0]}")
    return 1 if code or missed else 0


if __name__ == "__main__":
    sys.exit(main())
