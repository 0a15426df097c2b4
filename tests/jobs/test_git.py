"""Code comes from real git servers, at exactly its commit, and from nowhere else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from plumbline_contract.runspec import Owner, VerifyConnection
from plumbline_jobs import git, verify
from plumbline_jobs.errors import Refused, Trouble
from plumbline_jobs.git import checkout, list_remote
from tests.jobs.repository import Repository, answering, git_daemon, plain_http

OWNER = Owner(namespace="team", kind="Connection", name="code", uid="uid-1", job="code-verify-1")
NOWHERE = "0" * 40


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """A repository whose second commit changed the only file."""
    return Repository(tmp_path)


@pytest.fixture
def server(repository: Repository) -> Iterator[str]:
    """A git server that shows the repository once it is published."""
    with git_daemon(repository.served) as url:
        yield url


def test_an_older_commit_is_put_into_the_folder(repository: Repository, server: str, tmp_path: Path) -> None:
    first = repository.commit({"train.py": "one", "data/note.txt": "n"})
    repository.commit({"train.py": "two"})
    repository.publish()
    checkout(f"{server}/code.git", first, tmp_path / "code")
    assert (tmp_path / "code" / "train.py").read_text() == "one"
    assert (tmp_path / "code" / "data" / "note.txt").read_text() == "n"


def test_a_server_that_cannot_send_one_commit_is_asked_for_all(repository: Repository, tmp_path: Path) -> None:
    first = repository.commit({"train.py": "one"})
    repository.commit({"train.py": "two"})
    repository.publish()
    with plain_http(repository.served) as url:
        checkout(f"{url}/code.git", first, tmp_path / "code")
    assert (tmp_path / "code" / "train.py").read_text() == "one"


def test_a_commit_that_nobody_pushed_is_named(repository: Repository, server: str, tmp_path: Path) -> None:
    repository.commit({"train.py": "one"})
    repository.publish()
    with pytest.raises(Refused, match=f"has no commit {NOWHERE}; push it") as caught:
        checkout(f"{server}/code.git", NOWHERE, tmp_path / "code")
    assert caught.value.reason == "DataUnavailable"


def test_branches_and_tags_are_counted_and_reported(repository: Repository, server: str) -> None:
    repository.commit({"train.py": "one"})
    repository.publish()
    assert list_remote(f"{server}/code.git") == 1
    answer = verify.run(VerifyConnection(owner=OWNER, git_url=f"{server}/code.git"))
    assert answer.report.reason == "Verified"
    assert "1 branches and tags" in answer.report.message


def test_a_repository_that_is_not_there_is_told_apart_from_a_server_that_is_not(
    repository: Repository, server: str, unused_endpoint: str
) -> None:
    repository.commit({"train.py": "one"})
    repository.publish()
    with pytest.raises(Refused) as missing:
        list_remote(f"{server}/other.git")
    assert missing.value.reason == "RepositoryNotFound"
    with pytest.raises(Trouble) as silent:
        list_remote(f"{unused_endpoint}/code.git")
    assert silent.value.reason == "EndpointUnreachable"


@pytest.mark.parametrize(
    ("status", "reason"),
    [(401, "AccessDenied"), (403, "AccessDenied"), (404, "RepositoryNotFound"), (503, "EndpointUnreachable")],
)
def test_what_a_web_server_answers_becomes_a_reason(status: int, reason: str) -> None:
    with answering(status) as (url, asked), pytest.raises((Refused, Trouble)) as caught:
        list_remote(f"{url}/code.git")
    assert caught.value.reason == reason
    assert asked


def test_a_redirect_is_not_followed() -> None:
    with answering(200) as (target, reached), answering(302, f"{target}/code.git/info/refs") as (url, asked):
        with pytest.raises(Refused):
            list_remote(f"{url}/code.git")
        assert asked
        assert reached == []


def test_a_password_in_the_url_is_in_no_message() -> None:
    with answering(401) as (url, _), pytest.raises(Refused) as caught:
        list_remote(url.replace("http://", "http://robot:hunter2@") + "/code.git")
    assert caught.value.reason == "AccessDenied"
    assert "hunter2" not in caught.value.message


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc",
        "/etc",
        "ext::sh -c touch% /tmp/never",
        "--upload-pack=touch /tmp/never",
        "ftp://example.com/code.git",
    ],
)
def test_an_address_that_is_no_server_is_refused_before_git_runs(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[object] = []
    monkeypatch.setattr(git.subprocess, "run", lambda *a, **_: ran.append(a))
    with pytest.raises(Refused, match="no git URL") as caught:
        list_remote(url)
    assert caught.value.reason == "RepositoryNotFound"
    assert ran == []


def test_a_submodule_and_a_filter_of_the_repository_run_nothing(
    repository: Repository, server: str, tmp_path: Path
) -> None:
    trap = tmp_path / "sprung"
    commit = repository.commit(
        {
            ".gitattributes": "* filter=trap",
            ".gitmodules": f'[submodule "m"]\n\tpath = m\n\turl = ext::touch {trap}\n\tupdate = !touch {trap}\n',
            "hooks/post-checkout": f"#!/bin/sh\ntouch {trap}\n",
            "train.py": "one",
        }
    )
    repository.publish()
    checkout(f"{server}/code.git", commit, tmp_path / "code")
    assert (tmp_path / "code" / "train.py").read_text() == "one"
    assert not trap.exists()


def test_a_server_that_says_nothing_is_given_up_on(unused_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(command: tuple[str, ...], **options: object) -> None:
        raise git.subprocess.TimeoutExpired(command, 60)

    monkeypatch.setattr(git.subprocess, "run", silent)
    with pytest.raises(Trouble, match="did not answer git within 60 seconds") as caught:
        list_remote(f"{unused_endpoint}/code.git")
    assert caught.value.reason == "EndpointUnreachable"
