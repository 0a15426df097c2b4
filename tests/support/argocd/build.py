"""Argo CD's program and the manifests that come with it, from its Go module."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from tests.support.cluster import host, programs
from tests.support.cluster.paths import HERE, locked, replaced
from tests.support.cluster.progress import run

MODULE = "github.com/argoproj/argo-cd/v3"
ARGOCD = programs.Part("argocd", [f"{MODULE}/cmd"])
CRDS = ("application-crd.yaml", "appproject-crd.yaml", "applicationset-crd.yaml")
SETTINGS = "argocd-cm.yaml"  # as Argo CD installs it
VERIFIER = "git-verify-wrapper.sh"  # the repository server calls it for every commit, by its name alone


def argocd_program() -> Path:
    """The one program that is all parts of Argo CD, by the name it is told; built now if it is not there yet."""
    return programs.program(ARGOCD, "argocd")


def manifests() -> Path:
    """The folder with CRDS, SETTINGS and VERIFIER, taken out of the module's source."""
    folder = programs.built(ARGOCD) / "manifests"
    with locked(folder.with_name("manifests.lock")):
        if not folder.exists():
            source = _source()
            crds = [source / "manifests" / "crds" / name for name in CRDS]
            with replaced(folder) as work:
                for path in (*crds, source / "manifests" / "base" / "config" / SETTINGS, source / "hack" / VERIFIER):
                    shutil.copy(path, work)
                (work / VERIFIER).chmod(0o755)
    return folder


def _source() -> Path:
    """Where the module proxy's copy of the source lies on this machine; fetched again should it be gone."""
    where, env = HERE / "go" / ARGOCD.name, {**os.environ, "GOTOOLCHAIN": "auto", "GOFLAGS": "-mod=mod"}
    run([host.go_program(), "mod", "download", MODULE], cwd=where, env=env)
    listed = run([host.go_program(), "list", "-m", "-f", "{{.Dir}}", MODULE], cwd=where, env=env)
    return Path(listed.strip())
