"""What can go wrong with the registry in ``fake_registry``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

FOR_EVER = 1 << 30


@dataclass
class Faults:
    """What goes wrong; the counters count down to 0."""

    # "" (none), "basic", "bearer", "deny" (401 whatever is sent), or a WWW-Authenticate header.
    auth: str = ""
    login: tuple[str, str] | None = None  # without it the token server serves anybody
    identity_token: str = ""  # accepted by POST
    oauth: bool = True  # False: 404 for POST
    realm: str = ""  # another token server than ours
    token_reply: dict[str, Any] | None = None  # what it says instead of a token
    token_uses: int = FOR_EVER  # how many requests a token is good for
    narrow_tokens: int = 0  # how many tokens are answered with insufficient_scope
    fail: int = 0  # how many requests fail with `status`
    status: int = 503
    retry_after: str = ""
    page: int = 0  # at most so many names in a list
    new_names: int = 0  # how many each page of a list has that no page before had
    new_name: str = "name-"  # how each of them begins
    limit: str = ""  # what Docker's hub says in RateLimit-Limit
    message: str = "one at a time please"
    body_fail: int = FOR_EVER  # how many blob bodies the faults below hit
    reset_at: int | None = None  # TCP reset after so many bytes of a blob's body
    end_at: int | None = None  # orderly end there
    ranges: bool = True
    wrong_range: bool = False  # 206 with another first byte than asked for
    corrupt: bool = False
    append: bytes = b""  # the blob is longer than the manifest says
    length_delta: int = 0  # stated Content-Length less the true one
    framing: str = "length"  # or "chunked" or "none"
    encoding_label: str = ""  # a Content-Encoding that is not true
    redirect: str = ""  # where blobs are, a base URL
    redirect_manifests: str = ""
    redirects: dict[str, str] = field(default_factory=dict)  # of single paths
    stall: float = 0.0  # seconds of silence before each blob's body
    endless: int = 0  # manifests go on for so many MiB, or until the client hangs up
    content_type: str = ""  # of manifests
    missing: set[str] = field(default_factory=set)
