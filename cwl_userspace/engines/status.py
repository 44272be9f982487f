"""The status shim: a tiny static program that runs another and exits with its status.

proot 5.1 says 255 when a signal ended its guest, waits for what the guest left running, and then
exits with the status of whatever ended last. So it is given this program to run, made here as
bytes since users' machines have no compiler. Called as

    SHIM PATH ARGV0 ARGS...

it forks; the child executes PATH with exactly the arguments ARGV0 ARGS... and the shim's own
environment. The shim waits for that child, nothing else, and exits with its status: n, or
128 + n when signal n ended it; 127 when PATH was not there, 126 when it could not be executed
for another reason, 125 when the shim itself could not work. It can also write that status, as one
byte, to a descriptor that it inherits and that the child does not get: whoever holds the other
end of that pipe knows the status, and that it is time to end what was left running.

Signals: the shim blocks them all before it forks, so that it cannot end before its child, and
the child gets the mask that the shim was started with (and SIGCHLD at its default, without
which there would be no status to wait for). What a *process* sends to the shim, it passes on
to its child. What the *kernel* sends (^C at a terminal) it drops: that went to the whole
process group, and so to the child already. Hence signal the shim, or the child, or the group
as a terminal does, but the child of a group that `kill -- -PGID` was meant for hears it twice.
"""

from __future__ import annotations

import struct

_BASE = 0x400000
_ELF_MACHINE = {"x86_64": 62, "aarch64": 183}
_HEADERS = 64 + 2 * 56
NOWHERE = 0xFFFF  # as the descriptor to report to: one that is not open

# Machine code, left of the bar; "@label" is the distance to a label, in the instruction's way;
# {report} is the descriptor to report to, as the instruction has it.
# rbx: argc, argv..., 0, envp; r12: all signals; r13: the first mask; ebp: the child
_X86_64 = """
            48 89 e3                | mov rbx, rsp
            31 c0 50 50 50 50       | xor eax, eax; push rax (4 times: a struct sigaction)
            48 89 e6                | mov rsi, rsp
            6a 11 5f                | push 17; pop rdi                SIGCHLD
            31 d2                   | xor edx, edx
            6a 08 41 5a             | push 8; pop r10
            6a 0d 58 0f 05          | push 13; pop rax; syscall       rt_sigaction
            6a ff 49 89 e4          | push -1; mov r12, rsp
            52                      | push rdx
            6a 02 5f                | push 2; pop rdi                 SIG_SETMASK
            4c 89 e6                | mov rsi, r12
            48 89 e2 49 89 e5       | mov rdx, rsp; mov r13, rsp
            6a 0e 58 0f 05          | push 14; pop rax; syscall       rt_sigprocmask
            48 83 3b 03 7c @fail    | cmp qword [rbx], 3; jl fail
            6a 11 5f 31 f6 31 d2    | push 17; pop rdi; xor esi, esi; xor edx, edx
            45 31 d2 45 31 c0       | xor r10d, r10d; xor r8d, r8d
            6a 38 58 0f 05          | push 56; pop rax; syscall       clone
            85 c0 78 @fail          | test eax, eax; js fail
            75 @parent              | jnz parent
            bf {report}          | mov edi, report
            6a 03 58 0f 05          | push 3; pop rax; syscall        close
            6a 02 5f 4c 89 ee       | push 2; pop rdi; mov rsi, r13   SIG_SETMASK
            31 d2 6a 08 41 5a       | xor edx, edx; push 8; pop r10
            6a 0e 58 0f 05          | push 14; pop rax; syscall       rt_sigprocmask
            48 8b 03                | mov rax, [rbx]
            48 8d 54 c3 10          | lea rdx, [rbx+8*rax+16]         envp
            48 8b 7b 10             | mov rdi, [rbx+16]               PATH
            48 8d 73 18             | lea rsi, [rbx+24]               ARGV0...
            6a 3b 58 0f 05          | push 59; pop rax; syscall       execve
            6a 7f 5f                | push 127; pop rdi
            83 f8 fe 74 @exit       | cmp eax, -2; je exit            ENOENT
            83 f8 ec 74 @exit       | cmp eax, -20; je exit           ENOTDIR
            ff cf eb @exit          | dec edi; jmp exit
    fail:   6a 7d 5f                | push 125; pop rdi
    exit:   57                      | push rdi
            bf {report}          | mov edi, report
            48 89 e6 6a 01 5a       | mov rsi, rsp; push 1; pop rdx
            6a 01 58 0f 05          | push 1; pop rax; syscall        write
            5f                      | pop rdi
            b8 e7 00 00 00 0f 05    | mov eax, 231; syscall           exit_group
    parent: 89 c5                   | mov ebp, eax
            48 83 c4 80             | add rsp, -128                   room for a siginfo
    wait:   4c 89 e7 48 89 e6       | mov rdi, r12; mov rsi, rsp
            31 d2 6a 08 41 5a       | xor edx, edx; push 8; pop r10
            b8 80 00 00 00 0f 05    | mov eax, 128; syscall           rt_sigtimedwait
            83 f8 11 74 @reap       | cmp eax, 17; je reap
            85 c0 7e @wait          | test eax, eax; jle wait         interrupted
            83 7c 24 08 00          | cmp dword [rsp+8], 0            si_code
            7f @wait                | jg wait                         from the kernel
            89 ef 89 c6             | mov edi, ebp; mov esi, eax
            6a 3e 58 0f 05          | push 62; pop rax; syscall       kill
            eb @wait                | jmp wait
    reap:   89 ef 48 89 e6          | mov edi, ebp; mov rsi, rsp
            6a 01 5a 45 31 d2       | push 1; pop rdx; xor r10d, r10d WNOHANG
            6a 3d 58 0f 05          | push 61; pop rax; syscall       wait4
            85 c0 74 @wait          | test eax, eax; jz wait          it was another, or a stop
            78 @fail                | js fail
            8b 04 24 89 c7          | mov eax, [rsp]; mov edi, eax
            83 e7 7f 74 @exited     | and edi, 127; jz exited
            81 cf 80 00 00 00       | or edi, 128
            eb @exit                | jmp exit
    exited: 0f b6 fc eb @exit       | movzx edi, ah; jmp exit
"""

# x19: argc, argv..., 0, envp; [sp]: all signals; [sp+8]: the first mask; x20: the child
_AARCH64 = """
            910003f3 d10343ff       | mov x19, sp; sub sp, sp, 208
            a9017fff a9027fff       | stp xzr, xzr, [sp, 16]; stp xzr, xzr, [sp, 32]
            d2800220 910043e1       | mov x0, 17; add x1, sp, 16      SIGCHLD
            d2800002 d2800103       | mov x2, 0; mov x3, 8
            d28010c8 d4000001       | mov x8, 134; svc 0              rt_sigaction
            92800009 f90003e9       | mov x9, -1; str x9, [sp]
            d2800040 910003e1       | mov x0, 2; mov x1, sp           SIG_SETMASK
            910023e2                | add x2, sp, 8
            d28010e8 d4000001       | mov x8, 135; svc 0              rt_sigprocmask
            f9400269 f1000d3f       | ldr x9, [x19]; cmp x9, 3
            5400000b @fail          | b.lt fail
            d2800220 d2800001       | mov x0, 17; mov x1, 0
            d2800002 d2800003       | mov x2, 0; mov x3, 0
            d2800004                | mov x4, 0
            d2801b88 d4000001       | mov x8, 220; svc 0              clone
            b7f80000 @fail          | tbnz x0, 63, fail
            b5000000 @parent        | cbnz x0, parent
            {report}                | mov x0, report
            d2800728 d4000001       | mov x8, 57; svc 0               close
            d2800040 910023e1       | mov x0, 2; add x1, sp, 8        SIG_SETMASK
            d2800002 d2800103       | mov x2, 0; mov x3, 8
            d28010e8 d4000001       | mov x8, 135; svc 0              rt_sigprocmask
            f9400269 8b090e62       | ldr x9, [x19]; add x2, x19, x9, lsl 3
            91004042                | add x2, x2, 16                  envp
            f9400a60 91006261       | ldr x0, [x19, 16]; add x1, x19, 24
            d2801ba8 d4000001       | mov x8, 221; svc 0              execve
            aa0003e9 d2800fe0       | mov x9, x0; mov x0, 127
            b100093f 54000000 @exit | cmn x9, 2; b.eq exit            ENOENT
            b100513f 54000000 @exit | cmn x9, 20; b.eq exit           ENOTDIR
            d2800fc0 14000000 @exit | mov x0, 126; b exit
    fail:   d2800fa0                | mov x0, 125
    exit:   aa0003f4 f90003e0       | mov x20, x0; str x0, [sp]
            {report} 910003e1       | mov x0, report; mov x1, sp
            d2800022                | mov x2, 1
            d2800808 d4000001       | mov x8, 64; svc 0               write
            aa1403e0                | mov x0, x20
            d2800bc8 d4000001       | mov x8, 94; svc 0               exit_group
    parent: aa0003f4                | mov x20, x0
    wait:   910003e0 910043e1       | mov x0, sp; add x1, sp, 16
            d2800002 d2800103       | mov x2, 0; mov x3, 8
            d2801128 d4000001       | mov x8, 137; svc 0              rt_sigtimedwait
            f100441f 54000000 @reap | cmp x0, 17; b.eq reap
            f100001f 5400000d @wait | cmp x0, 0; b.le wait            interrupted
            b9401be9 7100013f       | ldr w9, [sp, 24]; cmp w9, 0     si_code
            5400000c @wait          | b.gt wait                       from the kernel
            aa0003e1 aa1403e0       | mov x1, x0; mov x0, x20
            d2801028 d4000001       | mov x8, 129; svc 0              kill
            14000000 @wait          | b wait
    reap:   aa1403e0 910043e1       | mov x0, x20; add x1, sp, 16
            d2800022 d2800003       | mov x2, 1; mov x3, 0            WNOHANG
            d2802088 d4000001       | mov x8, 260; svc 0              wait4
            b4000000 @wait          | cbz x0, wait                    it was another, or a stop
            b7f80000 @fail          | tbnz x0, 63, fail
            b94013e9 72001920       | ldr w9, [sp, 16]; ands w0, w9, 127
            54000000 @exited        | b.eq exited
            32190000 14000000 @exit | orr w0, w0, 128; b exit
    exited: 53083d20 14000000 @exit | ubfx w0, w9, 8, 8; b exit
"""


def _branch(opcode: int, distance: int) -> int:
    """An A64 branch with its *distance* in bytes put in, by the kind of branch it is."""
    kind = opcode >> 24
    if kind == 0x14:  # b
        return opcode | (distance // 4) & 0x3FFFFFF
    bits = 0x3FFF if kind == 0xB7 else 0x7FFFF  # tbnz; cbz, cbnz and b.cond
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


def _assemble_x86_64(listing: str) -> bytes:
    """Bytes; a label is a byte that counts from the one after it."""
    words, labels = _words(listing)
    code = bytearray()
    for at, word in enumerate(words):
        is_label = word.startswith("@")
        code += struct.pack("b", labels[word[1:]] - at - 1) if is_label else bytes.fromhex(word)
    return bytes(code)


def _assemble_aarch64(listing: str) -> bytes:
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


def _elf(machine: str, code: bytes) -> bytes:
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


def status_program(machine: str, report: int = NOWHERE) -> bytes:
    """The shim as an executable for *machine*, x86_64 or aarch64; KeyError for another.

    *report* is the descriptor that it will have inherited and will write its status to.
    """
    if not 0 <= report <= NOWHERE:
        raise ValueError(f"descriptor {report} is not between 0 and {NOWHERE}")
    if machine == "x86_64":
        code = _assemble_x86_64(_X86_64.format(report=struct.pack("<I", report).hex(" ")))
    elif machine == "aarch64":
        code = _assemble_aarch64(_AARCH64.format(report=f"{0xD2800000 | report << 5:08x}"))
    else:
        raise KeyError(machine)
    return _elf(machine, code)
