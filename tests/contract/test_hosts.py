"""No spelling of a metadata service's address is connected to, and every other host may be a bucket's."""

import ipaddress
import socket

import pytest

from plumbline_contract import hosts
from plumbline_contract.hosts import Forbidden, Unresolved, bare, guard, is_forbidden


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "169.254.170.2",
        "169.254.0.1",
        "168.63.129.16",
        "100.100.100.200",
        "192.0.0.192",
        "fe80::1",
        "febf::1",
        "fd00:ec2::254",
        "fd00:ec2::23",
        "::ffff:169.254.169.254",  # mapped
        "::ffff:168.63.129.16",
        "::ffff:0.0.0.0",
        "::169.254.169.254",  # compatible
        "::ffff:0:169.254.169.254",  # translated
        "2002:a9fe:a9fe::",  # 6to4
        "2002:a83f:8110::1",
        "64:ff9b::169.254.169.254",  # NAT64
        "64:ff9b::168.63.129.16",
        "64:ff9b:1::169.254.169.254",  # NAT64 with a prefix of 96 bits of the network's own,
        "64:ff9b:1:0:a9:fea9:fe00:0",  # 64,
        "64:ff9b:1:a9:fe:a9fe::",  # 56
        "64:ff9b:1:a9fe:a9:fe00::",  # and 48
        "0.0.0.0",
        "::",
        "224.0.0.1",
        "ff02::1",
    ],
)
def test_a_link_local_or_metadata_address_is_forbidden(address: str) -> None:
    assert is_forbidden(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.0.0.7", "192.168.1.1", "8.8.8.8", "168.63.129.17", "169.253.255.255"),
        *("::1", "fd12::1", "2600:1f::1", "2002:808:808::"),
        *("::ffff:10.0.0.7", "64:ff9b::52.216.0.1", "64:ff9b:1::52.216.0.1"),  # a bucket behind NAT64
    ],
)
def test_an_address_of_a_cluster_or_of_the_world_is_allowed(address: str) -> None:
    assert not is_forbidden(ipaddress.ip_address(address))


@pytest.mark.parametrize("name", sorted(hosts.METADATA_NAMES))
def test_a_metadata_service_is_known_by_its_name(name: str) -> None:
    with pytest.raises(Forbidden, match="is a metadata service"):
        guard(f"http://{name.upper()}.:80/latest")


def test_a_url_without_a_host_and_a_name_without_an_address_are_told_apart() -> None:
    with pytest.raises(Forbidden, match="names no host"):
        guard("http:///bucket")
    with pytest.raises(Unresolved, match=r"no-such-host\.invalid cannot be resolved"):
        guard("http://no-such-host.invalid/bucket")
    with pytest.raises(Unresolved):
        guard(f"http://{'a' * 64}.example/")


def test_every_address_of_a_name_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    real, found = socket.getaddrinfo, ("10.0.0.7", "169.254.169.254")
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda host, port, **options: [real(one, port, **options)[0] for one in found]
    )
    with pytest.raises(Forbidden, match=r"resolves to 169\.254\.169\.254"):
        guard("http://store.example/bucket")


def test_the_password_of_an_endpoint_is_in_no_message() -> None:
    assert bare("https://user:secret@host:9000/path?token=t#f") == "https://host:9000/path"
