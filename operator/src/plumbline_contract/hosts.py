"""Which hosts nothing of ours connects to. A tenant's endpoint must never reach the node's own metadata service.

A Connection's rules refuse such addresses as they are written; here it is asked what a name really leads to.
"""

import ipaddress
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

METADATA_NAMES = frozenset(
    {"metadata", "metadata.google.internal", "metadata.goog", "instance-data", "instance-data.ec2.internal"}
)
METADATA_NETWORKS = tuple(
    ipaddress.ip_network(text)
    for text in (
        "169.254.0.0/16",  # AWS, GCP, Azure and most others
        "fe80::/10",
        "fd00:ec2::/32",  # AWS over IPv6
        "168.63.129.16/32",  # the wire server of Azure
        "100.100.100.200/32",  # Alibaba Cloud
        "192.0.0.192/32",  # Oracle Cloud
    )
)
"""Link-local addresses, and metadata services elsewhere."""

NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
LOCAL_NAT64 = ipaddress.IPv6Network("64:ff9b:1::/48")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Forbidden(PermissionError):
    """A host that nothing of ours may ever connect to; the text says which and why."""


class Unresolved(OSError):
    """A name that has no address now."""


def guard(url: str) -> None:
    """Raises Forbidden when the URL's host is, or resolves to, a link-local or metadata address; Unresolved.

    To be called before every request, so that a name that changes its address between two requests does not get
    through on the strength of the first.
    """
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".").lower()
    if not host:
        raise Forbidden(f"{bare(url)} names no host; write scheme://host")
    if host in METADATA_NAMES:
        raise Forbidden(f"{bare(url)} is a metadata service; connections to it are never made")
    for address in resolve(host, parts.port):
        if is_forbidden(address):
            raise Forbidden(
                f"{bare(url)} resolves to {address}, a link-local or metadata address; connections to it are never made"
            )


def resolve(host: str, port: int | None) -> list[Address]:
    """Every address of a host. Raises Unresolved."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Unresolved(f"the host {host} cannot be resolved: {error}") from error
    return [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]


def is_forbidden(address: Address) -> bool:
    """Whether nothing of ours may ever connect to this address."""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return is_forbidden(address.ipv4_mapped)  # the kernel itself speaks IPv4 then
    if address.is_multicast or address.is_unspecified:
        return True
    return any(one in network for one in (address, *_written_in(address)) for network in METADATA_NETWORKS)


def _written_in(address: Address) -> Iterator[ipaddress.IPv4Address]:
    """The IPv4 addresses that a gateway may read out of an IPv6 one: 6to4, compatible, translated, and NAT64.

    A network without IPv4 reaches every bucket by NAT64, so such addresses are judged by what they stand for. Where a
    local prefix has it depends on the prefix's length (RFC 6052, section 2.2), and the ninth byte is skipped.
    """
    if isinstance(address, ipaddress.IPv4Address):
        return
    data = address.packed
    if address.sixtofour is not None:
        yield address.sixtofour
    if data[:8] == bytes(8) or address in NAT64:
        yield ipaddress.IPv4Address(data[12:])
    if address in LOCAL_NAT64:
        used = data[:8] + data[9:]
        yield from (ipaddress.IPv4Address(used[start : start + 4]) for start in (6, 7, 8, 11))


def bare(url: str) -> str:
    """The URL without user, password, query and fragment, for messages."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{host}{port}{parts.path}"
