"""Whose certificates are believed: the system's, or those of a file that somebody has named."""

from __future__ import annotations

import os
import ssl

from cwl_userspace.errors import SettingsError

_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
_DIRECTORIES = (
    "~/.config/containers/certs.d",
    "~/.config/docker/certs.d",
    "/etc/containers/certs.d",
    "/etc/docker/certs.d",
)


def context_for(authority: str, insecure: bool) -> ssl.SSLContext:
    """How TLS is to be spoken with a host, which ``insecure`` need not prove who it is.

    Raise SettingsError where a file is named that does not exist, and ssl.SSLError for one that
    has no certificates.
    """
    if insecure:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context
    path = _named(authority) or _bundled()
    if os.path.isdir(path):
        return ssl.create_default_context(capath=path)
    return ssl.create_default_context(cafile=path or None)


def _named(authority: str) -> str:
    """The file, or directory, of certificate authorities that somebody has named for a host."""
    for directory in _DIRECTORIES:
        path = os.path.join(os.path.expanduser(directory), authority, "ca.crt")
        if os.path.isfile(path):
            return path
    for variable in _VARIABLES:
        path = os.environ.get(variable, "")
        if path and not os.path.exists(path):
            raise SettingsError(
                f"{variable} names {path}, which does not exist",
                "give it a file of CA certificates in PEM, or unset it",
            )
        if path:
            return path
    return ""


def _bundled() -> str:
    """certifi's file where the system has no authorities, as a Python from elsewhere may find."""
    usual = ssl.get_default_verify_paths()
    if usual.cafile or (usual.capath and os.listdir(usual.capath)):
        return ""
    try:
        import certifi
    except ImportError:
        return ""
    return certifi.where()
