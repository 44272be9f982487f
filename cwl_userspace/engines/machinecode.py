"""A very small assembler, and the executables that it makes: users' machines have no compiler.

A listing has machine code left of a bar, a line's meaning right of it. "@label" is the distance to
a label, in the instruction's way; "%label" is one of four bytes (x86_64).
"""

from __future__ import annotations

import struct

_BASE = 0x400000
_ELF_MACHINE = {"x86_64": 62, "aarch64": 183}
_HEADERS = 64 + 2 * 56


def _branch(opcode: int, distance: int) -> int:
    """An A64 branch with its *distance* in bytes put in, by the kind of branch it is."""
    kind = opcode >> 24
    if kind == 0x14:  # b
        return opcode | (distance // 4) & 0x3FFFFFF
    bits = 0x3FFF if kind in (0x36, 0xB6, 0xB7) else 0x7FFFF  # tbz, tbnz; cbz, cbnz and b.cond
    return opcode | ((distance // 4) & bits) << 5


def _words(listing: str) -> tuple[list[str], dict[str, int]]:
    """The code of *listing* in order, and before which of its words each label stands."""
    words: list[str] = []
    labels = {}
    for line in listing.strip().splitlines():
        for word in line.partition("|")[0].split():
            if word.endswith(":"):
                labels[word[:-1]] = len(words)
            else:
                words.append(word)
    return words, labels


def assemble_x86_64(listing: str) -> bytes:
    """Bytes; a label is one byte, or four, and counts from the one after it."""
    words, labels = _words(listing)
    places = [0]
    for word in words:
        places.append(places[-1] + {"@": 1, "%": 4}.get(word[0], len(word) // 2))
    code = b""
    for at, word in enumerate(words):
        kind = {"@": "<b", "%": "<i"}.get(word[0])
        if kind:
            code += struct.pack(kind, places[labels[word[1:]]] - places[at + 1])
        else:
            code += bytes.fromhex(word)
    return code


def assemble_aarch64(listing: str) -> bytes:
    """Words of four bytes; a label belongs to the branch before it, and counts from there."""
    words, labels = _words(listing)
    places = []  # how many instructions stand before each word
    code: list[int] = []
    for word in words:
        places.append(len(code))
        if not word.startswith("@"):
            code.append(int(word, 16))
    for at, word in enumerate(words):
        if word.startswith("@"):
            branch = places[at] - 1
            code[branch] = _branch(code[branch], 4 * (places[labels[word[1:]]] - branch))
    return struct.pack(f"<{len(code)}I", *code)


def executable(machine: str, code: bytes) -> bytes:
    """A static executable of one segment, readable and executable; its stack is not."""
    size = _HEADERS + len(code)
    header = b"\x7fELF\2\1\1" + bytes(9)  # 64 bits, little-endian, version 1, System V
    header += struct.pack(
        "<HHIQQQIHHHHHH",
        *(2, _ELF_MACHINE[machine], 1, _BASE + _HEADERS),  # ET_EXEC; the entry point
        *(64, 0, 0, 64, 56, 2, 64, 0, 0),  # program headers follow; no sections
    )
    # type, flags, offset, address twice, size in the file and in memory, alignment (64 KiB is
    # the largest page of aarch64)
    load = struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, size, size, 0x10000)
    stack = struct.pack("<IIQQQQQQ", 0x6474E551, 6, 0, 0, 0, 0, 0, 16)
    return header + load + stack + code
