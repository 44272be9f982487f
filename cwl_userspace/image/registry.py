"""A registry or a mirror as a source: the OCI distribution API, Docker Registry v2."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from urllib.parse import urlsplit

from cwl_userspace.digest import Digest
from cwl_userspace.errors import (
    AuthenticationError,
    ContentMismatch,
    ImageNotFound,
    RegistryError,
    SettingsError,
)
from cwl_userspace.image.addresses import authority_of, host_of, is_loopback, is_plain_url, origin
from cwl_userspace.image.auth import Authenticator, insufficient_scope
from cwl_userspace.image.connections import Response
from cwl_userspace.image.credentials import Credentials
from cwl_userspace.image.download import download
from cwl_userspace.image.neterrors import HandshakeCut, Interrupted, NotTls, Unreachable, printable
from cwl_userspace.image.plain import speaks_plain_http
from cwl_userspace.image.source import check_document_size, resolve
from cwl_userspace.image.transport import (
    ATTEMPTS,
    TIMEOUTS,
    Request,
    Sleep,
    Transport,
    backoff,
    body,
    error_text,
)
from cwl_userspace.oci import (
    DOCKER_INDEX,
    DOCKER_MANIFEST,
    DOCUMENT_TYPES,
    OCI_INDEX,
    OCI_MANIFEST,
    Descriptor,
    Image,
    Layer,
    Platform,
)
from cwl_userspace.reference import DOCKER_HUB, ImageReference

_HUB_HOST = "registry-1.docker.io"
# Indexes first: some registries take the first type that they can make.
_ACCEPT = ", ".join((OCI_INDEX, DOCKER_INDEX, OCI_MANIFEST, DOCKER_MANIFEST))
_ANSWERS = 2

# The bytes of a document that is here already, or None.
Known = Callable[[Digest], bytes | None]


class Registry:
    """The images of one registry, asked itself or through a mirror of it.

    ``host`` is the registry in image names and ``endpoint`` the base URL of a mirror: ``/v2``
    is added unless its path has it already (``https://harbor.example/v2/hub-proxy``). Safe for
    several threads. What ``known`` gives of an image's documents is not asked for.
    """

    def __init__(
        self,
        host: str,
        *,
        endpoint: str | None = None,
        insecure: bool = False,
        credentials: Credentials | None = None,
        label: str = "",
        sleep: Sleep = time.sleep,
        timeouts: tuple[float, float] = TIMEOUTS,
        known: Known | None = None,
    ) -> None:
        self._base = _base_url(host, endpoint)
        # What Docker does for loopback hosts and for those that the user calls insecure.
        self._may_be_plain = endpoint is None and (insecure or is_loopback(host_of(self._base)))
        self._label = label or endpoint or host
        self._patience = timeouts[0]
        self._transport = Transport(
            self._label, self._base, insecure=insecure, sleep=sleep, timeouts=timeouts
        )
        login_host = authority_of(endpoint) if endpoint else host
        self._login = Authenticator(self._transport, login_host, credentials)
        self._known = known
        self._repositories: dict[Digest, str] = {}

    @property
    def label(self) -> str:
        """How messages name this source."""
        return self._label

    def ping(self) -> None:
        """Raise RegistryError unless the registry answers at all; it may ask for a login."""
        self._send("", {}, pinned=False).close()

    def check_login(self) -> bool:
        """Raise AuthenticationError unless the registry takes the login of our credentials.

        False if it asks nobody for a login, so that it says nothing of this one.
        """
        response = self._send("", {}, pinned=False)
        ours = origin(response.url) == origin(self._base)
        asked = ours and response.status == 401
        if asked:
            self._login.answer("", response, None)
        elif not ours or response.status != 200:
            raise self._failure(response, "", "the list of its own versions", ours)
        else:
            response.close()
        # Some ask nobody at this door, and still look at who comes with a login.
        sent = self._login.value("") or self._login.basic()
        response = self._send("", {"Authorization": sent} if sent else {}, pinned=False)
        if response.status != 200:
            raise self._failure(response, "", "a login", ours)
        response.close()
        return asked

    def image(self, reference: ImageReference, platform: Platform) -> Image:
        """The image of that tag or digest; raise ImageNotFound where the registry lacks it."""
        repository, what = reference.repository, reference.familiar

        def fetch(descriptor: Descriptor) -> bytes:
            check_document_size(descriptor.size or 0, f"a document of {what}")
            assert descriptor.digest is not None
            kept = self._known(descriptor.digest) if self._known is not None else None
            if kept is not None:
                return kept
            listed = descriptor.media_type in DOCUMENT_TYPES or descriptor.platform is not None
            room = "manifests" if listed else "blobs"
            return self._document(
                repository, f"{room}/{descriptor.digest}", descriptor.digest, what
            )

        path = f"manifests/{reference.selector}"
        document = self._document(repository, path, reference.digest, what)
        image = resolve(document, fetch, platform, what)
        for layer in image.layers:
            if layer.blob.digest is not None:
                self._repositories[layer.blob.digest] = repository
        return image

    def manifest(self, reference: ImageReference) -> bytes:
        """The manifest or index that a name stands for, as the registry has it."""
        path = f"manifests/{reference.selector}"
        return self._document(reference.repository, path, reference.digest, reference.familiar)

    def listing(self, repository: str, path: str, what: str) -> bytes:
        """A list that the registry keeps of a repository, or with an empty one of all of them."""
        return self._document(repository, path, None, what)

    def layer(self, layer: Layer) -> Iterator[bytes]:
        """The bytes of a layer's blob as they come, as many as stated, not verified.

        The layer must be of an image that this registry has given.
        """
        digest, size = layer.blob.digest, layer.blob.size
        assert digest is not None and size is not None
        repository = self._repositories[digest]
        what = f"the layer {digest} of {repository}"

        def open_at(first: int) -> Response:
            headers = {"Range": f"bytes={first}-"} if first else {}
            return self._get(repository, f"blobs/{digest}", headers, what, pinned=True)

        return download(open_at, size, what, self._label, self._transport.sleep)

    def _document(self, repository: str, path: str, digest: Digest | None, what: str) -> bytes:
        """A manifest, an index or a configuration, verified where a digest is known."""
        accept = {"Accept": _ACCEPT} if path.startswith("manifests/") else {}
        named = what if digest is None else f"{digest} of {what}"
        for attempt in range(1, ATTEMPTS + 1):
            response = self._get(repository, path, accept, named, pinned=digest is not None)
            raw = bytearray()
            try:
                for piece in body(response, self._label, 64 << 10):
                    raw += piece
                    check_document_size(len(raw), named)
                break
            except Interrupted:
                # A proxy that states too great a length may still have sent all there is.
                if digest is not None and _digest_of(raw) == digest:
                    break
                if attempt == ATTEMPTS:
                    raise
                self._transport.sleep(backoff(attempt))
        if digest is not None and _digest_of(raw) != digest:
            raise ContentMismatch(
                f"{self._label} sends other bytes for {named}: their digest is {_digest_of(raw)}",
                "the copy is damaged or forged",
            )
        return bytes(raw)

    def _get(
        self, repository: str, path: str, headers: Mapping[str, str], what: str, *, pinned: bool
    ) -> Response:
        """The registry's answer, logged in as far as needed; raise for every status but success."""
        for answers in range(_ANSWERS + 1):
            sent = self._login.value(repository)
            extra = {"Authorization": sent} if sent else {}
            response = self._send(f"{repository}/{path}".lstrip("/"), {**headers, **extra}, pinned)
            ours = origin(response.url) == origin(self._base)
            asks = response.status == 401 or (
                response.status == 403 and insufficient_scope(response)
            )
            # Only the registry may ask for a login, not a host that it redirects to.
            if not (ours and asks and answers < _ANSWERS):
                break
            self._login.answer(repository, response, sent)
        if response.status in ((200, 206, 416) if "Range" in headers else (200,)):
            return response
        raise self._failure(response, repository, what, ours)

    def _send(self, path: str, headers: Mapping[str, str], pinned: bool) -> Response:
        base, probe = self._base, self._may_be_plain
        if probe and speaks_plain_http(base, self._patience):
            base, probe = _plain(base), False
        request = Request(f"{base}/{path}", headers, pinned=pinned, probe=probe)
        try:
            response = self._transport.send(request)
        except (NotTls, HandshakeCut, Unreachable) as error:
            refused = isinstance(error, Unreachable) and urlsplit(base).port is not None
            if not probe or refused:
                raise  # plain http would be asked at the same port
            response = None
        # Not in the except clause: the faults of the one must not be told as the other's.
        if response is None:
            base = _plain(base)
            response = self._transport.send(request._replace(url=f"{base}/{path}", probe=False))
        # Once it has answered, no fault may talk us down from TLS to plain http.
        self._base, self._may_be_plain = base, False
        return response

    def _failure(
        self, response: Response, repository: str, what: str, ours: bool
    ) -> RegistryError | ImageNotFound:
        said, status = error_text(response), response.status
        if status == 404:
            return ImageNotFound(
                f"{self._label} does not have {what}{said}", "check the name and the tag"
            )
        if ours and status in (401, 403):
            return self._login.refused(repository, said)
        where = self._transport.name_of(response.url)
        words = f"{where} answers {status} {printable(response.reason)} for {what}{said}"
        if status in (401, 403):
            return AuthenticationError(words, "try again; its address may have expired")
        return RegistryError(words, "the registry may not be one of the v2 kind")


def _base_url(host: str, endpoint: str | None) -> str:
    if endpoint is None:
        base = f"https://{_HUB_HOST if host == DOCKER_HUB else host}"
        if not is_plain_url(base):
            raise SettingsError(f"{host!r} is not a registry", "expected a host name or host:port")
        return f"{base}/v2"
    base = endpoint.rstrip("/")
    if not is_plain_url(base) or "?" in base or "#" in base:
        raise SettingsError(
            f"{endpoint!r} is not the address of a mirror",
            "expected for example https://mirror.example or http://127.0.0.1:5000; "
            "logins belong in Docker's config.json",
        )
    return base if "v2" in urlsplit(base).path.split("/") else f"{base}/v2"


def _plain(base: str) -> str:
    return "http:" + base.removeprefix("https:")


def _digest_of(raw: bytes | bytearray) -> Digest:
    return Digest(hashlib.sha256(raw).hexdigest())
