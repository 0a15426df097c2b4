"""Bed B's network: a bridge, our own iptables chains, and the kernel's settings, all put back at the end."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Iterator
from pathlib import Path

from tests.support.cluster.paths import ClusterError
from tests.support.cluster.progress import run

BRIDGE = "plumbline0"

# (pods, Services): the first pair that the machine's own routes leave free is taken.
RANGES = [
    ("10.244.0.0/22", "10.96.0.0/16"),
    ("10.212.0.0/22", "10.213.0.0/16"),
    ("172.30.0.0/22", "172.31.0.0/16"),
]

# Our chains, and the built-in chain that jumps to each. Their presence also says that the KUBE- chains beside
# them were made by our kube-proxy and kubelet, and not by another Kubernetes of this machine.
OWN_CHAINS = {"nat": ("PLUMBLINE-POSTROUTING", "POSTROUTING"), "filter": ("PLUMBLINE-FORWARD", "FORWARD")}
OUR_CHAIN = re.compile(r"^(KUBE|PLUMBLINE)-")
TABLES = ("filter", "nat", "mangle")

# What we, the kubelet and kube-proxy set; each is put back to what it was.
SETTINGS = (
    *("net/ipv4/ip_forward", "net/bridge/bridge-nf-call-iptables", "net/ipv4/conf/all/route_localnet"),
    *("vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops"),
    *("kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes"),
)
SWITCHED_ON = ("net/ipv4/ip_forward", "net/bridge/bridge-nf-call-iptables")


def free_ranges() -> tuple[str, str]:
    """The pod range and the Service range of this machine's next Bed B."""
    routes = [ipaddress.ip_network(text) for text in _routed()]
    for pods, services in RANGES:
        wanted = [ipaddress.ip_network(pods), ipaddress.ip_network(services)]
        if not any(one.overlaps(route) for one in wanted for route in routes):
            return pods, services
    raise ClusterError(f"no free address range: this machine routes all of {RANGES}; `ip route` shows them")


def _routed() -> Iterator[str]:
    for route in json.loads(run(["ip", "-json", "-4", "route"])):
        if route["dst"] != "default" and route.get("dev") != BRIDGE:
            yield route["dst"]


def bridge_address(pods: str) -> str:
    """The bridge's own address: the first of the pod range. The node has it too."""
    return str(next(ipaddress.ip_network(pods).hosts()))


def service_address(services: str, number: int) -> str:
    """The ``number``-th address of the Service range."""
    return str(ipaddress.ip_network(services)[number])


def current_settings() -> dict[str, str]:
    """The kernel settings as they are now, to be put back later."""
    present = [(name, Path("/proc/sys") / name) for name in SETTINGS]
    return {name: path.read_text().strip() for name, path in present if path.exists()}


def put_back(settings: dict[str, str]) -> None:
    """Sets the kernel settings to what ``current_settings`` once gave."""
    for name, value in settings.items():
        path = Path("/proc/sys") / name
        if path.read_text().strip() != value:
            path.write_text(value)


def up(pods: str) -> None:
    """Makes the bridge with its address, lets its packets through, and hides pods behind the machine's address."""
    for name in SWITCHED_ON:
        path = Path("/proc/sys") / name
        if not path.exists():
            run(["modprobe", "br_netfilter"])
        path.write_text("1")
    size = ipaddress.ip_network(pods).prefixlen
    run(["ip", "link", "add", BRIDGE, "type", "bridge"])
    run(["ip", "address", "add", f"{bridge_address(pods)}/{size}", "dev", BRIDGE])
    run(["ip", "link", "set", BRIDGE, "up"])
    for table, (chain, parent) in OWN_CHAINS.items():
        run(["iptables", "-w", "-t", table, "-N", chain])
        run(["iptables", "-w", "-t", table, "-A", parent, "-j", chain])
    forward, outgoing = OWN_CHAINS["filter"][0], OWN_CHAINS["nat"][0]
    for direction in ("-i", "-o"):
        run(["iptables", "-w", "-A", forward, direction, BRIDGE, "-j", "ACCEPT"])
    masquerade = ["-s", pods, "!", "-d", pods, "!", "-o", BRIDGE, "-j", "MASQUERADE"]
    run(["iptables", "-w", "-t", "nat", "-A", outgoing, *masquerade])


def down() -> None:
    """Removes the bridge, and the chains if our own are among them."""
    if bridge_exists():
        run(["ip", "link", "delete", BRIDGE])
    if own_chains():
        for program in ("ip6tables", "iptables"):
            for table in TABLES:
                _remove_chains(program, table)


def bridge_exists() -> bool:
    """Whether the bridge is there."""
    return Path("/sys/class/net", BRIDGE).exists()


def bridge_ports() -> list[str]:
    """The interfaces that hang on the bridge."""
    folder = Path("/sys/class/net", BRIDGE, "brif")
    return sorted(port.name for port in folder.iterdir()) if folder.exists() else []


def own_chains() -> list[str]:
    """Our own chains that exist, as ``table/chain``."""
    return [name for name in kubernetes_chains() if name.split("/")[1].startswith("PLUMBLINE-")]


def kubernetes_chains() -> list[str]:
    """All chains that a Kubernetes of this machine, ours or not, has, as ``table/chain``."""
    found = []
    for table in TABLES:
        for line in run(["iptables-save", "-t", table]).splitlines():
            chain = line[1:].split(" ")[0]
            if line.startswith(":") and OUR_CHAIN.match(chain):
                found.append(f"{table}/{chain}")
    return found


def require_no_other_kubernetes() -> None:
    """Raises ClusterError when another Kubernetes keeps its chains in this machine's own network."""
    if kubernetes_chains() and not own_chains():
        raise ClusterError(
            "another Kubernetes has its iptables chains (KUBE-…) on this machine, and Bed B's would mix with them; "
            "stop it first, or use --provider kind or current:<context>"
        )


def _remove_chains(program: str, table: str) -> None:
    lines = run([f"{program}-save", "-t", table]).splitlines()
    chains = [line[1:].split(" ")[0] for line in lines if line.startswith(":")]
    ours = [chain for chain in chains if OUR_CHAIN.match(chain)]
    if not ours:
        return
    jumps = [line for line in lines if _jumps_to_ours(line) and not OUR_CHAIN.match(line.split(" ")[1])]
    # In one go: naming a chain flushes it, so that none is in use when they are deleted.
    script = [f"*{table}", *(f":{chain} - [0:0]" for chain in ours)]
    script += [line.replace("-A ", "-D ", 1) for line in jumps]
    script += [*(f"-X {chain}" for chain in ours), "COMMIT", ""]
    run([f"{program}-restore", "-w", "--noflush"], stdin="\n".join(script))


def _jumps_to_ours(line: str) -> bool:
    words = line.split(" ")
    return line.startswith("-A ") and "-j" in words and bool(OUR_CHAIN.match(words[words.index("-j") + 1]))
