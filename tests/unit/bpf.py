"""An interpreter of seccomp filters, to ask one what it answers."""

from __future__ import annotations

import struct

from cwl_userspace.kernel import syscalls

MACHINES = ("x86_64", "aarch64")
AUDIT = {"x86_64": 0xC000003E, "i386": 0x40000003, "aarch64": 0xC00000B7, "arm": 0x40000028}
KIN = {"x86_64": "i386", "aarch64": "arm"}


def answer(code: bytes, audit: int, number: int, *arguments: int) -> int:
    """What the filter *code* returns for a call, by running it as the kernel does."""
    padded = [*arguments, *[0] * (6 - len(arguments))]
    data = struct.pack("<IIQ6Q", number & 0xFFFFFFFF, audit, 0, *padded)
    accumulator, at = 0, 0
    while True:
        operation, if_true, if_false, k = struct.unpack_from("<HBBI", code, at * 8)
        at += 1
        if operation == 0x06:
            return int(k)
        if operation == 0x20:
            accumulator = struct.unpack_from("<I", data, k)[0]
        elif operation == 0x54:
            accumulator &= k
        elif operation == 0x05:
            at += k
        else:
            holds = {0x15: accumulator == k, 0x35: accumulator >= k, 0x45: bool(accumulator & k)}
            at += if_true if holds[operation] else if_false


def call(code: bytes, convention: str, name: str, *arguments: int) -> int:
    """The answer to a call by its name."""
    return answer(code, AUDIT[convention], syscalls.numbers(convention)[name], *arguments)
