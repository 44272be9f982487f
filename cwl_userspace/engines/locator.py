"""The locator: a tiny static program that opens paths for the keeper, as the container sees them.

A proot that speeds itself up by a seccomp filter never sees the calls that the mode guard's own
filter sends to the keeper, so the keeper gets them with the paths that the program wrote. Only
proot knows what those mean. Hence this program, which proot runs like any other. Called as

    LOCATOR PATH ARGS...

it forks; the parent tells the child's process id on a socket that both inherit, 8 bytes as all
numbers here, and executes PATH with PATH ARGS... and the same environment; so nobody else can
have said anything on that socket before. The child serves until the
parent ends or the socket closes. A request is
a packet: the flags for open(2), a directory in 64 bytes and a path, both ended by a zero byte.
The answer is the descriptor under which the child has that open, or -errno; the keeper takes a
copy and sends any packet, upon which the child closes its own. Whoever in the container kills or
bends the child can reach nothing by that which he could not reach anyhow, since the keeper looks
at what he is given.
"""

from __future__ import annotations

import struct

from cwl_userspace.engines.machinecode import assemble_aarch64, assemble_x86_64, executable

DIRECTORY_AT, PATH_AT, LONGEST = 8, 72, 8192

# As in `status`. rbx: argc, argv..., 0, envp...; r12: the directory; r13: what was opened
_X86_64 = """
            48 89 e3                | mov rbx, rsp
            6a 11 5f 31 f6 31 d2    | push 17; pop rdi; xor esi, esi; xor edx, edx
            45 31 d2 45 31 c0       | xor r10d, r10d; xor r8d, r8d
            6a 38 58 0f 05          | push 56; pop rax; syscall       clone
            85 c0 74 @child         | test eax, eax; jz child
            50 48 89 e6             | push rax; mov rsi, rsp
            bf {socket} 6a 08 5a    | mov edi, socket; push 8; pop rdx
            6a 01 58 0f 05          | push 1; pop rax; syscall        write
            bf {socket}             | mov edi, socket
            6a 03 58 0f 05          | push 3; pop rax; syscall        close
            48 8b 03                | mov rax, [rbx]
            48 8d 54 c3 10          | lea rdx, [rbx+8*rax+16]         envp
            48 8d 73 10 48 8b 3e    | lea rsi, [rbx+16]; mov rdi, [rsi]
            6a 3b 58 0f 05          | push 59; pop rax; syscall       execve
            6a 7d 5f                | push 125; pop rdi
    exit:   b8 e7 00 00 00 0f 05    | mov eax, 231; syscall           exit_group
    child:  6a ff 48 89 e6          | push -1; mov rsi, rsp
            6a 02 5f 31 d2          | push 2; pop rdi; xor edx, edx   SIG_SETMASK
            6a 08 41 5a             | push 8; pop r10
            6a 0e 58 0f 05          | push 14; pop rax; syscall       rt_sigprocmask
            6a 01 5f 6a 09 5e       | push 1; pop rdi; push 9; pop rsi
            b8 9d 00 00 00 0f 05    | mov eax, 157; syscall           prctl: PDEATHSIG, SIGKILL
            48 81 ec 00 20 00 00    | sub rsp, 8192
    serve:  bf {socket}             | mov edi, socket
            48 89 e6 ba 00 20 00 00 | mov rsi, rsp; mov edx, 8192
            31 c0 0f 05             | xor eax, eax; syscall           read
            31 ff 85 c0 7e @exit    | xor edi, edi; test eax, eax; jle exit
            6a 9c 5f                | push -100; pop rdi              AT_FDCWD
            48 8d 74 24 08          | lea rsi, [rsp+8]
            ba 00 00 29 00          | mov edx, O_PATH|O_DIRECTORY|O_CLOEXEC
            b8 01 01 00 00 0f 05    | mov eax, 257; syscall           openat
            49 89 c5                | mov r13, rax
            85 c0 78 @tell          | test eax, eax; js tell
            89 c7 41 89 c4          | mov edi, eax; mov r12d, eax
            48 8d 74 24 48          | lea rsi, [rsp+72]
            8b 14 24                | mov edx, [rsp]
            b8 01 01 00 00 0f 05    | mov eax, 257; syscall           openat
            49 89 c5 44 89 e7       | mov r13, rax; mov edi, r12d
            6a 03 58 0f 05          | push 3; pop rax; syscall        close
    tell:   4c 89 2c 24             | mov [rsp], r13
            bf {socket}             | mov edi, socket
            48 89 e6 6a 08 5a       | mov rsi, rsp; push 8; pop rdx
            6a 01 58 0f 05          | push 1; pop rax; syscall        write
            bf {socket}             | mov edi, socket
            31 c0 0f 05             | xor eax, eax; syscall           read
            44 89 ef                | mov edi, r13d
            6a 03 58 0f 05          | push 3; pop rax; syscall        close
            eb @serve               | jmp serve
"""

# x19: argc, argv..., 0, envp...; x20: the directory; x21: what was opened
_AARCH64 = """
            910003f3                | mov x19, sp
            d2800220 d2800001       | mov x0, 17; mov x1, 0
            d2800002 d2800003       | mov x2, 0; mov x3, 0
            d2800004                | mov x4, 0
            d2801b88 d4000001       | mov x8, 220; svc 0              clone
            b4000000 @child         | cbz x0, child
            f81f0fe0 910003e1       | str x0, [sp, -16]!; mov x1, sp
            {socket} d2800102       | mov x0, socket; mov x2, 8
            d2800808 d4000001       | mov x8, 64; svc 0               write
            {socket}                | mov x0, socket
            d2800728 d4000001       | mov x8, 57; svc 0               close
            f9400269 8b090e62       | ldr x9, [x19]; add x2, x19, x9, lsl 3
            91004042                | add x2, x2, 16                  envp
            91004261 f9400020       | add x1, x19, 16; ldr x0, [x1]
            d2801ba8 d4000001       | mov x8, 221; svc 0              execve
            d2800fa0                | mov x0, 125
    exit:   d2800bc8 d4000001       | mov x8, 94; svc 0               exit_group
    child:  92800009 d10043ff       | mov x9, -1; sub sp, sp, 16
            f90003e9 d2800040       | str x9, [sp]; mov x0, 2         SIG_SETMASK
            910003e1 d2800002       | mov x1, sp; mov x2, 0
            d2800103                | mov x3, 8
            d28010e8 d4000001       | mov x8, 135; svc 0              rt_sigprocmask
            d2800020 d2800121       | mov x0, 1; mov x1, 9
            d28014e8 d4000001       | mov x8, 167; svc 0              prctl: PDEATHSIG, SIGKILL
            d1400bff                | sub sp, sp, 8192
    serve:  {socket} 910003e1       | mov x0, socket; mov x1, sp
            d2840002                | mov x2, 8192
            d28007e8 d4000001       | mov x8, 63; svc 0               read
            aa0003e9 d2800000       | mov x9, x0; mov x0, 0
            f100013f 5400000d @exit | cmp x9, 0; b.le exit
            92800c60 910023e1       | mov x0, -100; add x1, sp, 8     AT_FDCWD
            d2880002 f2a00502       | mov x2, O_PATH|O_DIRECTORY|O_CLOEXEC
            d2800708 d4000001       | mov x8, 56; svc 0               openat
            aa0003f5                | mov x21, x0
            b7f80000 @tell          | tbnz x0, 63, tell
            aa0003f4 910123e1       | mov x20, x0; add x1, sp, 72
            b94003e2 d2800003       | ldr w2, [sp]; mov x3, 0
            d2800708 d4000001       | mov x8, 56; svc 0               openat
            aa0003f5 aa1403e0       | mov x21, x0; mov x0, x20
            d2800728 d4000001       | mov x8, 57; svc 0               close
    tell:   f90003f5                | str x21, [sp]
            {socket} 910003e1       | mov x0, socket; mov x1, sp
            d2800102                | mov x2, 8
            d2800808 d4000001       | mov x8, 64; svc 0               write
            {socket} 910003e1       | mov x0, socket; mov x1, sp
            d2800102                | mov x2, 8
            d28007e8 d4000001       | mov x8, 63; svc 0               read
            aa1503e0                | mov x0, x21
            d2800728 d4000001       | mov x8, 57; svc 0               close
            14000000 @serve         | b serve
"""


def locator_program(machine: str, socket: int) -> bytes:
    """The locator as an executable for *machine*, x86_64 or aarch64; KeyError for another.

    *socket* is the descriptor that it will have inherited and serves on.
    """
    if machine == "x86_64":
        code = assemble_x86_64(_X86_64.format(socket=struct.pack("<I", socket).hex(" ")))
    elif machine == "aarch64":
        code = assemble_aarch64(_AARCH64.format(socket=f"{0xD2800000 | socket << 5:08x}"))
    else:
        raise KeyError(machine)
    return executable(machine, code)
