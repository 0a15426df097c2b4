"""Entry point of `kubectl plumbline`. Exit codes: 0 fine, 1 a digest does not hold, 2 no answer can be given."""

import functools
import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, NoReturn

import click
from kubernetes.client.exceptions import ApiException
from rich.console import Console
from rich.tree import Tree

from plumbline_cli.bucket import Proof, Tampered
from plumbline_cli.chain import Link, explain
from plumbline_cli.cluster import Cluster, Missing, connect
from plumbline_contract.base import short_hash

REQUESTED_AT = "plumbline.dev/requested-at"


def in_a_namespace(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command kubectl's own options, and the cluster they name as its first argument.

    They stand behind the command, as in `kubectl get pods -n team`; kubectl allows none before a plugin's name.
    """

    @click.option("--kubeconfig", help="Path of the kubeconfig; $KUBECONFIG or the usual default otherwise.")
    @click.option("--context", help="Context of the kubeconfig; its current one otherwise.")
    @click.option("-n", "--namespace", help="Namespace; the context's own otherwise.")
    @functools.wraps(command)
    def wrapped(kubeconfig: str | None, context: str | None, namespace: str | None, **rest: Any) -> None:
        try:
            command(connect(kubeconfig, context, namespace), **rest)
        except Missing as error:
            _refuse(str(error))
        except ApiException as error:
            _refuse(str(json.loads(error.body)["message"]) if error.body else str(error))

    return wrapped


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Ask and tell Plumbline what takes more than one kubectl command."""


@main.command("explain")
@click.argument("prediction_id")
@click.option("--deployment", help="Look only in this ModelDeployment's log.")
@click.option("--s3-endpoint", envvar="PLUMBLINE_S3_ENDPOINT", help="Reach the bucket here, not at the Connection's.")
@click.option("-o", "--output", type=click.Choice(["tree", "json"]), default="tree", show_default=True)
@in_a_namespace
def explain_command(
    cluster: Cluster, prediction_id: str, deployment: str | None, s3_endpoint: str | None, output: str
) -> None:
    """Trace a prediction to its version, run, commit, data and approver, and verify every digest again."""
    try:
        chain = explain(cluster, prediction_id, s3_endpoint, deployment)
    except Tampered as error:
        _tell_broken([error.proof])
        raise SystemExit(1) from error
    except ValueError as error:
        _refuse(str(error))
    except OSError as error:
        _refuse(
            f"the bucket cannot be read: {error}. If its address is inside the cluster, name another: --s3-endpoint"
        )
    if output == "json":
        click.echo(json.dumps(_as_json(chain), indent=2, default=str))
    else:
        Console(soft_wrap=True, highlight=False).print(_as_tree(chain))
    _tell_broken(chain.broken)
    if chain.broken:
        raise SystemExit(1)
    click.echo(f"{chain.checked} digests verified", err=True)


@main.command("approve")
@click.argument("version")
@click.option("--group", default="", help="The group you act for, if the model asks for one.")
@click.option("--deny", is_flag=True, help="Record a refusal instead.")
@click.option("--comment", default="", help="Why; kept with the decision.")
@in_a_namespace
def approve_command(cluster: Cluster, version: str, group: str, deny: bool, comment: str) -> None:
    """Decide on a ModelVersion as yourself; the decision is bound to its digest."""
    spec = cluster.get("ModelVersion", version)["spec"]
    approver = cluster.user()
    body: dict[str, Any] = {
        "approver": approver,
        "version": {"name": version, "manifest": spec["manifest"], "author": spec["author"]},
        "decision": "Deny" if deny else "Approve",
        "comment": comment,
    }
    if group:
        body["group"] = group
    name = f"{version}-{short_hash([approver, body['decision'], spec['manifest']])}"
    cluster.create("Approval", name, body)
    click.echo(f"approval.plumbline.dev/{name} created: {body['decision']} {version} as {approver}")


@main.command("rollback")
@click.argument("deployment")
@click.option("--to", "version", help="Version to go back to; the one before the present one otherwise.")
@click.option("--reason", required=True, help="Why; kept with the pin.")
@in_a_namespace
def rollback_command(cluster: Cluster, deployment: str, version: str | None, reason: str) -> None:
    """Pin a deployment to a version that served before, at once and outside Git."""
    chosen = version or _previous(cluster, deployment)
    name = f"{deployment}-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    spec = {"deploymentRef": {"name": deployment}, "versionRef": {"name": chosen}, "reason": reason}
    cluster.create("ReleasePin", name, spec)
    click.echo(f"releasepin.plumbline.dev/{name} created: {deployment} → {chosen}")


@main.command("refresh")
@click.argument("kind")
@click.argument("name")
@in_a_namespace
def refresh_command(cluster: Cluster, kind: str, name: str) -> None:
    """Ask an object to do its work again now (a Dataset to ingest, a DriftMonitor to evaluate)."""
    moment = datetime.now(UTC).isoformat(timespec="seconds")
    cluster.annotate(kind, name, {REQUESTED_AT: moment})
    click.echo(f"{kind} {name} asked at {moment}")


def _tell_broken(proofs: Iterable[Proof]) -> None:
    for proof in proofs:
        click.echo(f"NOT WHAT IT WAS: {proof.key}: expected {proof.digest}, found {proof.found}", err=True)


def _previous(cluster: Cluster, deployment: str) -> str:
    status = cluster.get("ModelDeployment", deployment).get("status", {})
    previous = status.get("previous", [])
    if not previous:
        raise Missing(f"ModelDeployment {deployment} has no earlier version; name one that served with --to")
    return str(previous[0]["version"])


def _refuse(text: str) -> NoReturn:
    click.echo(f"error: {text}", err=True)
    raise SystemExit(2)


def _as_json(link: Link) -> dict[str, Any]:
    return {
        "what": link.title,
        **link.facts,
        "digests": [{"key": p.key, "expected": p.digest, "found": p.found, "holds": p.holds} for p in link.proofs],
        "restsOn": [_as_json(b) for b in link.below],
    }


def _as_tree(link: Link, tree: Tree | None = None) -> Tree:
    label = f"[bold]{link.title}[/bold]"
    branch = Tree(label) if tree is None else tree.add(label)
    for name, value in link.facts.items():
        if value not in ("", {}, None):
            branch.add(f"{name}: {_plain(value)}")
    if link.proofs:
        bad = sum(not p.holds for p in link.proofs)
        branch.add(
            f"[red]{bad} of {len(link.proofs)} digests broken[/red]" if bad else f"{len(link.proofs)} digests hold"
        )
    for below in link.below:
        _as_tree(below, branch)
    return branch


def _plain(value: Any) -> str:
    return ", ".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) else str(value)


if __name__ == "__main__":
    main()
