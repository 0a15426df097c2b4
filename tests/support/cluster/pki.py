"""The cluster's certificate authority and what it signs, by the openssl program (3.0 or newer)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.cluster.progress import run

VALID_DAYS = 30  # a test cluster lives for hours; a forgotten certificate should not live for years


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its private key, PEM files."""

    certificate: Path
    key: Path


class Authority:
    """One certificate authority in a folder; the folder is filled when first asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ca = Pair(folder / "ca.crt", folder / "ca.key")
        # A bare public key in the certificate's place: tokens need no more.
        self.tokens = Pair(folder / "service-accounts.pub", folder / "service-accounts.key")

    def create(self) -> None:
        """Makes the authority's own certificate and the key that signs service account tokens."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        self._request(self.ca, "/CN=plumbline-test", ["basicConstraints=critical,CA:TRUE", "keyUsage=keyCertSign"])
        private = self.tokens.key
        run(["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", private])
        run(["openssl", "pkey", "-in", private, "-pubout", "-out", self.tokens.certificate])

    def client(self, user: str, groups: Sequence[str] = ()) -> Pair:
        """A client certificate: the API server takes its CN as the user and each O as a group."""
        subject = "".join(f"/O={_escaped(group)}" for group in groups) + f"/CN={_escaped(user)}"
        pair = self._pair(f"client-{_file_name(user, groups)}")
        if not pair.certificate.exists():
            self._request(pair, subject, ["extendedKeyUsage=clientAuth"], signer=self.ca)
        return pair

    def server(self, name: str, addresses: Sequence[str], names: Sequence[str]) -> Pair:
        """A serving certificate for IP addresses and DNS names."""
        alternatives = [f"IP:{address}" for address in addresses] + [f"DNS:{dns}" for dns in names]
        pair = self._pair(f"server-{name}")
        extensions = ["extendedKeyUsage=serverAuth", f"subjectAltName={','.join(alternatives)}"]
        self._request(pair, f"/CN={_escaped(name)}", extensions, signer=self.ca)
        return pair

    def _pair(self, name: str) -> Pair:
        return Pair(self.folder / f"{name}.crt", self.folder / f"{name}.key")

    def _request(self, pair: Pair, subject: str, extensions: Sequence[str], signer: Pair | None = None) -> None:
        # An own configuration: openssl's default one would mark every certificate as an authority.
        config = pair.certificate.with_suffix(".cnf")
        config.write_text(
            "\n".join(["[req]", "distinguished_name=dn", "x509_extensions=ext", "[dn]", "[ext]", *extensions])
        )
        signed_by: list[str | Path] = ["-CA", signer.certificate, "-CAkey", signer.key] if signer else []
        made = pair.certificate.with_suffix(".part")
        run(
            [
                *("openssl", "req", "-x509", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
                *("-nodes", "-days", str(VALID_DAYS), "-utf8", "-config", config, "-subj", subject),
                *("-keyout", pair.key, "-out", made, *signed_by),
            ]
        )
        # The certificate appears last: where it is, the pair is whole.
        made.rename(pair.certificate)


def _escaped(text: str) -> str:
    return "".join(f"\\{letter}" if letter in "/+\\" else letter for letter in text)


def _file_name(user: str, groups: Sequence[str]) -> str:
    words = [user, *groups]
    return "+".join("".join(c if c.isalnum() or c in "-_." else f"%{ord(c):x}" for c in word) for word in words)
