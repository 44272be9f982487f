"""A content digest (OCI image specification, descriptor.md, "Digests")."""

from __future__ import annotations

from cwl_userspace.errors import ContentMismatch

_HEX = frozenset("0123456789abcdef")


class Digest:
    """``sha256:`` and 64 lower-case hexadecimal digits; safe to build a path or a URL from."""

    __slots__ = ("hex",)

    algorithm = "sha256"

    def __init__(self, hexadecimal: str) -> None:
        if len(hexadecimal) != 64 or not _HEX.issuperset(hexadecimal):
            raise ContentMismatch(
                f"{hexadecimal!r} is not a sha256 digest", "expected 64 lower-case hex digits"
            )
        self.hex = hexadecimal

    @classmethod
    def parse(cls, text: object) -> Digest:
        """Read ``sha256:<hex>``; raise ContentMismatch for anything else, whatever its type."""
        if not isinstance(text, str) or not text.startswith("sha256:"):
            raise ContentMismatch(
                f"{text!r:.200} is not a digest that can be verified",
                "expected sha256: and 64 lower-case hex digits",
            )
        return cls(text[7:])

    def __str__(self) -> str:
        return f"sha256:{self.hex}"

    def __repr__(self) -> str:
        return f"Digest({self.hex!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Digest) and other.hex == self.hex

    def __hash__(self) -> int:
        return hash(self.hex)
