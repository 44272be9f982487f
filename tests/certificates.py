"""A private certificate authority, made with the openssl command while a test runs."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import NamedTuple


class Authority(NamedTuple):
    """Files in PEM; each certificate is a pair of chain and key."""

    ca: str
    good: tuple[str, str]
    wrong_host: tuple[str, str]


def make_authority(directory: Path) -> Authority:
    """A CA and servers' certificates: one for loopback, one for another host."""
    config = directory / "openssl.cnf"
    config.write_text("[req]\ndistinguished_name = dn\n[dn]\n")
    ca = _make(directory, "ca", "critical,CA:TRUE", "keyUsage=critical,keyCertSign")
    here = "subjectAltName=IP:127.0.0.1,DNS:localhost"
    return Authority(
        ca[0],
        _make(directory, "good", "critical,CA:FALSE", here, signer=ca),
        _make(directory, "other", "critical,CA:FALSE", "subjectAltName=DNS:a.example", signer=ca),
    )


def _make(
    directory: Path,
    name: str,
    constraints: str,
    extension: str,
    signer: tuple[str, str] | None = None,
) -> tuple[str, str]:
    certificate, key = str(directory / f"{name}.pem"), str(directory / f"{name}.key")
    by = ["-CA", signer[0], "-CAkey", signer[1]] if signer else []
    subprocess.run(
        ["openssl", "req", "-x509", "-nodes", "-config", str(directory / "openssl.cnf")]
        + ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
        + ["-subj", f"/CN={name}", "-days", "2", "-keyout", key, "-out", certificate]
        + ["-addext", f"basicConstraints={constraints}", "-addext", extension]
        + by,
        check=True,
        capture_output=True,
    )
    return certificate, key
