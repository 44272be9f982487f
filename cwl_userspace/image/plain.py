"""Find out whether a server on this very machine speaks plain http, at no cost to speak of.

Who asks properly first reads the certificates of all authorities, which takes as long as a quarter
of all that comes before the first byte of a layer. Here no certificate is looked at, because
nothing is said to the server: what answers in TLS is asked again, properly.
"""

from __future__ import annotations

import socket
import ssl
from urllib.parse import urlsplit

from cwl_userspace.image.addresses import host_of, is_loopback

# What OpenSSL makes of an http answer; the words differ between 1.1, 3.0 and 3.2.
PLAIN_ANSWER = (
    "WRONG_VERSION_NUMBER",
    "UNKNOWN_PROTOCOL",
    "PACKET_LENGTH_TOO_LONG",
    "RECORD_LAYER_FAILURE",
    "record layer failure",
)


def speaks_plain_http(url: str, patience: float) -> bool:
    """True if the server at a loopback URL that states its port answers TLS as http servers do.

    False for everything else, every fault included: who asks properly will be told of it.
    """
    host, port = host_of(url), urlsplit(url).port
    if port is None or not is_loopback(host):
        return False
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with socket.create_connection((host, port), patience) as connection:
            context.wrap_socket(connection, server_hostname=host).close()
    except ssl.SSLError as error:
        return any(sign in str(error) for sign in PLAIN_ANSWER)
    except (OSError, ValueError):
        pass
    return False
