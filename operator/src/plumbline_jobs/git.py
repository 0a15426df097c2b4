"""Runs git against a repository that a tenant named: no prompts, no hooks, no configuration but ours."""

import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from plumbline_contract.hosts import bare
from plumbline_jobs.errors import Refused, Trouble
from plumbline_jobs.io.hosts import guard

LIST_SECONDS = 60
FETCH_SECONDS = 1800
SCHEMES = ("https", "http", "git", "ssh")

_OPTIONS = (
    "-c",
    "core.hooksPath=/dev/null",
    "-c",
    "core.symlinks=true",
    "-c",
    "http.followRedirects=false",  # a redirect could lead to a host that was never checked
    "-c",
    "credential.helper=",
    "-c",
    "advice.detachedHead=false",
    "-c",
    "init.defaultBranch=main",
    "-c",
    "safe.directory=*",  # the volume's owner is not this process' user
)

_UNREACHABLE = re.compile(
    r"Could not resolve|Connection refused|Connection timed out|unable to connect|Failed to connect|"
    r"Couldn't connect|No route to host|Network is unreachable|early EOF|hung up unexpectedly|returned error: 5\d\d",
    re.IGNORECASE,
)
_NOT_FOUND = re.compile(
    r"not found|does not exist|not exported|no such repository|does not appear to be a git repository|"
    r"returned error: 404",
    re.IGNORECASE,
)
_DENIED = re.compile(
    r"Authentication failed|could not read Username|Permission denied|access denied|returned error: 40[13]",
    re.IGNORECASE,
)


def list_remote(url: str) -> int:
    """How many branches and tags the repository has. Raises as `git`."""
    answer = git(("ls-remote", "--heads", "--tags", "--", url), url=url, seconds=LIST_SECONDS)
    return len(answer.splitlines())


def checkout(url: str, commit: str, folder: Path) -> None:
    """Puts the tree of one commit into `folder`.

    Asks for the commit alone first; a server that does not serve single commits is asked for everything.
    Raises Refused, reason DataUnavailable, when the repository does not have the commit.
    """
    git(("init", "--quiet", str(folder)))
    inside = ("-C", str(folder))
    try:
        git((*inside, "fetch", "--quiet", "--depth", "1", "--no-tags", "--", url, commit), url=url)
    except Refused:
        everything = ("+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*")
        git((*inside, "fetch", "--quiet", "--no-tags", "--", url, *everything), url=url)
    try:
        git((*inside, "checkout", "--quiet", "--detach", commit, "--"))
    except Refused as error:
        raise Refused(
            "DataUnavailable",
            f"the repository {bare(url)} has no commit {commit}; push it, or correct spec.code.commit",
        ) from error


def git(arguments: Sequence[str], url: str = "", seconds: float = FETCH_SECONDS) -> str:
    """What git printed. Raises Refused or Trouble from what it complained about; the URL's password is not shown."""
    if url:
        _allowed(url)
    try:
        done = subprocess.run(
            ("git", *_OPTIONS, *arguments),
            capture_output=True,
            encoding="utf-8",
            errors="replace",  # names of branches, and what a server says, are bytes of its own choice
            timeout=seconds,
            env=_environment(),
        )
    except subprocess.TimeoutExpired as error:
        raise Trouble("EndpointUnreachable", f"{bare(url)} did not answer git within {seconds:.0f} seconds") from error
    if done.returncode == 0:
        return done.stdout
    raise _complaint(done.stderr, url)


def _allowed(url: str) -> None:
    scheme = url.partition("://")[0]
    if scheme not in SCHEMES:
        raise Refused(
            "RepositoryNotFound", f"{url:.200} is no git URL; it must begin with {', '.join(SCHEMES)} and ://"
        )
    guard(url)


def _environment() -> dict[str, str]:
    return {
        "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
        "HOME": "/nonexistent",
        "LC_ALL": "C",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_ALLOW_PROTOCOL": ":".join(SCHEMES),
        "GIT_SSH_COMMAND": "ssh -oBatchMode=yes -oConnectTimeout=20",
        "GIT_LFS_SKIP_SMUDGE": "1",
    }


def _complaint(stderr: str, url: str) -> Exception:
    lines = [line for line in stderr.replace(url, bare(url)).splitlines() if line.strip()]
    text = " ".join(lines[-3:])[:500]
    where = bare(url) or "the repository"
    if _NOT_FOUND.search(text):
        return Refused("RepositoryNotFound", f"{where} is not a repository that can be read: {text}")
    if _DENIED.search(text):
        return Refused("AccessDenied", f"{where} denies access: {text}")
    if _UNREACHABLE.search(text):
        return Trouble("EndpointUnreachable", f"{where} does not answer: {text}")
    return Refused("RepositoryNotFound", f"git says about {where}: {text}")
