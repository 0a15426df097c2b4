"""Which hosts a Job may be pointed at. A tenant's endpoint must never reach the node's own metadata service."""

import ipaddress
import socket
from urllib.parse import urlsplit

from plumbline_jobs.errors import Refused, Trouble

METADATA_NAMES = frozenset({"metadata", "metadata.google.internal", "instance-data", "instance-data.ec2.internal"})
METADATA_ADDRESSES = frozenset(
    ipaddress.ip_address(text)
    for text in (
        "fd00:ec2::254",  # AWS over IPv6
        "100.100.100.200",  # Alibaba Cloud
        "192.0.0.192",  # Oracle Cloud
    )
)
"""Metadata services outside the link-local ranges 169.254.0.0/16 and fe80::/10, which are refused as a whole."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def guard(url: str) -> None:
    """Raises Refused when the URL's host is, or resolves to, a link-local or metadata address.

    Called before every request, so that a name that changes its address between two requests does not get through
    on the strength of the first.
    """
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".").lower()
    if not host:
        raise Refused("EndpointUnreachable", f"{bare(url)} names no host; write scheme://host")
    if host in METADATA_NAMES:
        raise Refused("EndpointUnreachable", f"{bare(url)} is a metadata service; connections to it are never made")
    for address in resolve(host, parts.port):
        if is_forbidden(address):
            raise Refused(
                "EndpointUnreachable",
                f"{bare(url)} resolves to {address}, a link-local or metadata address; connections to it are never "
                "made",
            )


def resolve(host: str, port: int | None) -> list[Address]:
    """Every address of a host. Raises Trouble when the name cannot be resolved."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Trouble("EndpointUnreachable", f"the host {host} cannot be resolved: {error}") from error
    return [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]


def is_forbidden(address: Address) -> bool:
    """Whether nothing of ours may ever connect to this address."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is not None:
            return is_forbidden(inner)
    return address.is_link_local or address.is_multicast or address.is_unspecified or address in METADATA_ADDRESSES


def bare(url: str) -> str:
    """The URL without user, password, query and fragment, for messages."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{host}{port}{parts.path}"
