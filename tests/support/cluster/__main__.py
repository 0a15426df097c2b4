"""``python -m tests.support.cluster``: start, look at and end test clusters from a shell."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.support.cluster import ClusterError, embedded, find, images, layout, programs, start, stop
from tests.support.cluster.progress import say


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0, or 1 with one line that says what is missing."""
    options = _parser().parse_args(arguments)
    try:
        options.act(options)
    except ClusterError as error:
        say(f"refused: {error}")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.support.cluster", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    up = commands.add_parser("up", help="start a cluster, or find the one that runs")
    up.add_argument("--bed", choices=["A", "B"], required=True, help="A: control plane only; B: real pods")
    up.add_argument("--name", default="dev")
    up.add_argument("--provider", default="auto", help="auto, embedded, kind or current:<context>")
    up.add_argument("--image", action="append", type=Path, default=[], metavar="ARCHIVE", help="OCI archive to load")
    up.set_defaults(act=_up)
    down = commands.add_parser("down", help="end a cluster and remove all it made")
    which = down.add_mutually_exclusive_group()
    which.add_argument("--name", default="dev")
    which.add_argument("--all", action="store_true")
    down.set_defaults(act=_down)
    status = commands.add_parser("status", help="list the clusters of this machine")
    status.set_defaults(act=_status)
    prebuild = commands.add_parser("prebuild", help="build all programs, so that later starts are quick")
    prebuild.add_argument("--bed", choices=["A", "B"], default="B")
    prebuild.set_defaults(act=_prebuild)
    _add_images(commands.add_parser("images", help="build images, or build and load them into a Bed B"))
    return parser


def _add_images(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    for verb, act in (("build", _images_build), ("load", _images_load)):
        command = verbs.add_parser(verb)
        which = f"{', '.join(images.OWN_IMAGES)}, or a folder with an image.toml; all of ours when none is named"
        command.add_argument("names", nargs="*", metavar="IMAGE", help=which)
        command.set_defaults(act=act)
        if verb == "load":
            command.add_argument("--name", default="dev", help="the cluster")


def _archives(names: Sequence[str]) -> list[Path]:
    specs = [
        images.folder_spec(Path(name))
        if Path(name).is_dir() and name not in images.OWN_IMAGES
        else images.own_spec(name)
        for name in names or images.OWN_IMAGES
    ]
    return [images.build_image(spec) for spec in specs]


def _images_build(options: argparse.Namespace) -> None:
    for archive in _archives(options.names):
        print(f"{images.image_reference(archive)}\t{archive}")


def _images_load(options: argparse.Namespace) -> None:
    cluster = find(options.name)
    for archive in _archives(options.names):
        print(cluster.load_image(archive))


def _up(options: argparse.Namespace) -> None:
    cluster = start(options.bed, options.name, options.provider, options.image)
    print(f"export KUBECONFIG={cluster.kubeconfig}")


def _down(options: argparse.Namespace) -> None:
    names = [record.name for record in layout.known_clusters()] if options.all else [options.name]
    for name in names:
        stop(name)
        say(f"{name!r} is down")


def _status(options: argparse.Namespace) -> None:
    for record in layout.known_clusters():
        parts = ", ".join(layout.Layout(record.name).running_parts()) or "nothing runs"
        state = "ready" if record.ready else "not ready"
        print(f"{record.name}\tBed {record.bed}\t{record.provider}\t{state}\t{parts}")


def _prebuild(options: argparse.Namespace) -> None:
    embedded.require_machine(options.bed)
    for part in programs.PARTS_OF_BED[options.bed]:
        say(f"{part.name}: {programs.built(part)}")


if __name__ == "__main__":
    sys.exit(main())
