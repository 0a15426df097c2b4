"""Images without a container engine: layers, archives and specifications."""

from __future__ import annotations

import ast
import json
import os
import tarfile
from pathlib import Path

import pytest

from tests.support.cluster import ClusterError, images, layers, oci

NAME = "docker.io/plumbline/example:dev"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder with a program, a data file in a folder below, a link and bytecode."""
    folder = tmp_path / "source"
    (folder / "data").mkdir(parents=True)
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "run.pyc").write_bytes(b"bytecode")
    (folder / "run").write_text("#!/bin/sh\n")
    (folder / "run").chmod(0o755)
    (folder / "data" / "table").write_text("1,2\n")
    (folder / "latest").symlink_to("data/table")
    return folder


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of this test's own."""
    monkeypatch.setenv("PLUMBLINE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def members(path: Path) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(path) as tar:
        return {member.name: member for member in tar.getmembers()}


def content_of(path: Path, name: str) -> bytes:
    with tarfile.open(path) as tar:
        file = tar.extractfile(name)
        assert file is not None, f"{name} is no regular file"
        return file.read()


def test_a_layer_holds_files_links_and_the_folders_above_them(source: Path, tmp_path: Path) -> None:
    layer = oci.write_layer(tmp_path / "layer.tar", oci.tree(source, "srv/app"))

    found = members(layer.path)
    expected = ["srv", "srv/app", "srv/app/data", "srv/app/data/table", "srv/app/latest", "srv/app/run"]
    assert list(found) == expected
    assert found["srv/app/run"].mode == 0o755
    assert found["srv/app/data/table"].mode == 0o644
    assert found["srv/app/latest"].linkname == "data/table"
    assert {(m.mtime, m.uid, m.gid, m.uname) for m in found.values()} == {(oci.EPOCH, 0, 0, "")}
    assert layer.digest == oci.file_digest(layer.path)


def test_the_same_content_gives_the_same_bytes_whatever_its_times_and_order(source: Path, tmp_path: Path) -> None:
    settings = {"Entrypoint": ["/srv/run"]}
    digests = []
    for attempt, entries in enumerate((oci.tree(source, "srv"), oci.tree(source, "srv")[::-1])):
        os.utime(source / "run", (attempt * 1000, attempt * 1000))
        layer = oci.write_layer(tmp_path / f"{attempt}.layer", entries)
        digests.append(oci.write_archive(tmp_path / f"{attempt}.tar", NAME, [layer], settings))

    assert digests[0] == digests[1]
    assert (tmp_path / "0.tar").read_bytes() == (tmp_path / "1.tar").read_bytes()


def test_other_content_gives_another_digest(source: Path, tmp_path: Path) -> None:
    before = oci.write_layer(tmp_path / "before", oci.tree(source, "srv"))
    (source / "data" / "table").write_text("1,3\n")

    assert oci.write_layer(tmp_path / "after", oci.tree(source, "srv")).digest != before.digest


def test_every_blob_of_an_archive_is_named_by_its_digest_and_reachable(source: Path, tmp_path: Path) -> None:
    layer = oci.write_layer(tmp_path / "layer", oci.tree(source, "srv"))
    archive = tmp_path / "image.tar"
    # The same layer twice: an archive holds its blob once.
    digest = oci.write_archive(archive, NAME, [layer, layer], {"User": "65532"})

    blobs = {name: content_of(archive, name) for name in members(archive) if name.startswith("blobs/")}
    assert len(blobs) == 3
    for name, content in blobs.items():
        assert oci.bytes_digest(content) == name.removeprefix("blobs/").replace("/", ":")
    manifest = json.loads(blobs[f"blobs/{digest.replace(':', '/')}"])
    named = [manifest["config"], *manifest["layers"]]
    assert all(len(blobs[f"blobs/{one['digest'].replace(':', '/')}"]) == one["size"] for one in named)
    assert oci.archive_facts(archive) == (NAME, digest)
    assert images.image_digest(archive) == digest
    assert images.image_reference(archive) == f"plumbline/example@{digest}"


def test_a_layer_is_made_once_per_content_and_the_older_one_goes(cache: Path, source: Path) -> None:
    first = layers.source_layer("plumbline/example:dev", [], [(source, "/srv")])
    written = first.path.stat().st_mtime_ns
    again = layers.source_layer("plumbline/example:dev", [], [(source, "/srv")])
    (source / "run").write_text("#!/bin/sh\ntrue\n")
    changed = layers.source_layer("plumbline/example:dev", [], [(source, "/srv")])

    assert again == first
    assert changed.digest != first.digest
    assert not first.path.exists()
    assert changed.path.exists()
    assert written > 0


def test_a_package_comes_with_bytecode_that_does_not_look_at_times(cache: Path, tmp_path: Path) -> None:
    package = tmp_path / "toy"
    package.mkdir()
    (package / "__init__.py").write_text("VALUE = 1\n")

    layer = layers.source_layer("plumbline/example:dev", [package], [])

    name = f"{layers.PACKAGE_FOLDER}/toy/__pycache__/__init__.cpython-311.pyc"
    # PEP 552: bit 0 says that a hash of the source stands there, bit 1 that it is to be compared.
    assert int.from_bytes(content_of(layer.path, name)[4:8], "little") == 0b01


def test_an_image_folder_is_read_whole(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("six==1.17.0\n")
    (tmp_path / "image.toml").write_text(
        'name = "plumbline/git:dev"\nentrypoint = ["git", "daemon"]\nbase_packages = ["git"]\n'
        'requirements = "requirements.txt"\nfiles = [{from = "requirements.txt", to = "/srv/list"}]\n'
        '[environment]\nA = "b"\n'
    )

    spec = images.folder_spec(tmp_path)

    assert spec.name == "plumbline/git:dev"
    assert spec.entrypoint == ("git", "daemon")
    assert spec.base_packages == ("git",)
    assert spec.requirements == "six==1.17.0\n"
    assert spec.files == ((tmp_path / "requirements.txt", "/srv/list"),)
    assert spec.user == "65532:65532"
    assert spec.environment == {"A": "b"}


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ('name = "a:b"\nentrypoint = ["x"]\ncolour = 1\n', "unknown field colour; known are base_packages"),
        ('name = "a:b"\n', "entrypoint is missing"),
    ],
)
def test_a_wrong_image_folder_is_refused_with_the_field(tmp_path: Path, content: str, complaint: str) -> None:
    (tmp_path / "image.toml").write_text(content)

    with pytest.raises(ClusterError, match=complaint):
        images.folder_spec(tmp_path)


def test_names_that_are_no_image_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="there are operator, jobs, serving, router"):
        images.own_spec("cli")
    with pytest.raises(ClusterError, match=r"has no image\.toml"):
        images.folder_spec(tmp_path)


@pytest.mark.parametrize("short", sorted(images.OWN_IMAGES))
def test_an_image_lists_every_package_of_ours_that_its_packages_import(short: str) -> None:
    spec = images.own_spec(short)
    held = {package.name for package in spec.packages}
    imported = set()
    for package in spec.packages:
        for file in package.rglob("*.py"):
            for statement in ast.walk(ast.parse(file.read_text())):
                if isinstance(statement, ast.Import):
                    imported |= {alias.name.partition(".")[0] for alias in statement.names}
                elif isinstance(statement, ast.ImportFrom) and statement.module and statement.level == 0:
                    imported.add(statement.module.partition(".")[0])

    assert {name for name in imported if name.startswith("plumbline_")} <= held
    assert "--hash=sha256:" in spec.requirements
    assert "plumbline" not in {line.partition("==")[0] for line in spec.requirements.splitlines()}
