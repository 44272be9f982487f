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
    if files := _of_directory(authority):
        context = ssl.create_default_context(cafile=files[0])
        for path in files[1:]:
            context.load_verify_locations(path)
        return context
    path = _of_variable() or _bundled()
    if os.path.isdir(path):
        return ssl.create_default_context(capath=path)
    return ssl.create_default_context(cafile=path or None)


def _of_directory(authority: str) -> list[str]:
    """The files of authorities that somebody has put into a directory for a host, as for Docker."""
    for directory in _DIRECTORIES:
        place = os.path.join(os.path.expanduser(directory), authority)
        try:
            names = sorted(name for name in os.listdir(place) if name.endswith(".crt"))
        except OSError:
            continue
        if names:
            return [os.path.join(place, name) for name in names]
    return []


def _of_variable() -> str:
    """The file, or directory, of certificate authorities that a variable names, or nothing."""
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
