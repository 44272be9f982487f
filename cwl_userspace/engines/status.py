"""The status shim: a tiny static program that runs another and exits with its status.

An engine's own program says little of how its guest ended (proot: 255 for a signal, bwrap: 1 for
whatever went wrong), shows its arguments to everybody in /proc, and some take few of them. So it
is given this program to run, without a word, made here as bytes since users' machines have no
compiler. What is to be executed the shim finds in a *block* (see `script`), which it maps from a
descriptor that it inherits, and closes. It forks; the child

* leads a session of its own, with standard input as its terminal if the block says so;
* sets attributes of mounts, where it is root of the user name space that they were made in;
* enters a user name space of its own and writes the maps of ids there, if it is to be somebody
  whom the engine could not map;
* takes the restrictions of the block: no_new_privs, seccomp filters;
* executes the block's program with its arguments and environment, so a LD_PRELOAD or a PATH that
  is meant for the guest never acts on an engine, and no variable of an engine reaches the guest.

The shim waits for that child and exits with its status: n, or 128 + n when signal n ended it;
127 when the program was not there, 126 when it could not be executed for another reason, 125 when
the shim itself could not work. The status also goes, as one byte, to a descriptor that it
inherits and that the child does not get: whoever holds the other end of that pipe knows the
status, and that it is time to end what was left running. As process 1 of a name space it reaps
every orphan.

Signals: the shim blocks them all before it forks, so that it cannot end before its child, and
the child gets the mask that the shim was started with (and SIGCHLD at its default, without
which there would be no status to wait for). Those that a *process* sends to the shim, of the
kinds that a supervisor forwards (`kernel.signals.FORWARDED`), it passes on to its child. What the
*kernel* sends (^C at a terminal) it drops.
"""

from __future__ import annotations

import struct

from cwl_userspace.engines.machinecode import assemble_aarch64, assemble_x86_64, executable

NOWHERE = 0xFFFF  # as the descriptor to report to: one that is not open

# {report} and {block} are descriptors, as the instruction has them.
# rbx: the block; r13: the first mask; then ebp: the child; r12: the signals that are passed on
_X86_64 = """
    start:   31 c0 50 50 50 50                     | xor eax, eax; push rax (4 times)  a sigaction
             48 89 e6 6a 11                        | mov rsi, rsp; push 17
             5f 31 d2                              | pop rdi; xor edx, edx  SIGCHLD
             6a 08 41 5a 6a 0d                     | push 8; pop r10; push 13
             58 0f 05                              | pop rax; syscall  rt_sigaction
             6a ff 48 89 e6 52                     | push -1; mov rsi, rsp; push rdx
             6a 02 5f                              | push 2; pop rdi  SIG_SETMASK
             48 89 e2 49 89 e5                     | mov rdx, rsp; mov r13, rsp
             6a 0e 58 0f 05                        | push 14; pop rax; syscall  rt_sigprocmask
             bb 00 00 00 50 89 df                  | mov ebx, 0x50000000; mov edi, ebx  the block
             be 00 00 00 01 6a 03                  | mov esi, 0x1000000; push 3
             5a                                    | pop rdx  PROT_READ, PROT_WRITE
             6a 12 41 5a                           | push 18; pop r10
             41 b8 {block}                         | mov r8d, block
             45 31 c9                              | xor r9d, r9d  MAP_PRIVATE, MAP_FIXED
             6a 09 58 0f 05                        | push 9; pop rax; syscall  mmap
             48 85 c0 0f 88 %fail                  | test rax, rax; js fail
             bf {block} 6a 03                      | mov edi, block; push 3
             58 0f 05                              | pop rax; syscall  close
             4c 8b 73 40 45 31 ff                  | mov r14, [rbx+64]; xor r15d, r15d
             4d 85 f6 74 @fork                     | test r14, r14; jz fork
    dup:     43 8d 3c 3e 44 89 fe                  | lea edi, [r14+r15]; mov esi, r15d
             6a 21 58 0f 05                        | push 33; pop rax; syscall  dup2
             6a 03 58 0f 05                        | push 3; pop rax; syscall  close
             41 ff c7 41 83 ff 03 75 @dup          | inc r15d; cmp r15d, 3; jne dup
    fork:    6a 01 5f                              | push 1; pop rdi
             48 8b 73 28                           | mov rsi, [rbx+40]  PR_SET_PDEATHSIG
             b8 9d 00 00 00 0f 05                  | mov eax, 157; syscall  prctl
             6a 11 5f                              | push 17; pop rdi
             31 f6 31 d2                           | xor esi, esi; xor edx, edx  SIGCHLD
             45 31 d2 45 31 c0                     | xor r10d, r10d; xor r8d, r8d
             6a 38 58 0f 05                        | push 56; pop rax; syscall  clone
             85 c0 0f 88 %fail 0f 85 %parent       | test eax, eax; js fail; jnz parent
             bf {report} 6a 03                     | mov edi, report; push 3
             58 0f 05                              | pop rax; syscall  close
             6a 01 5f                              | push 1; pop rdi
             48 8b 73 28                           | mov rsi, [rbx+40]  PR_SET_PDEATHSIG
             b8 9d 00 00 00 0f 05                  | mov eax, 157; syscall  prctl
             6a 70 58 0f 05                        | push 112; pop rax; syscall  setsid
             f6 43 20 01 74 @mounts                | test byte [rbx+32], 1; jz mounts
             31 ff be 0e 54 00 00                  | xor edi, edi; mov esi, 0x540e
             31 d2                                 | xor edx, edx  TIOCSCTTY
             6a 10 58 0f 05                        | push 16; pop rax; syscall  ioctl
    mounts:  4c 8b 73 30 4d 85 f6 74 @users        | mov r14, [rbx+48]; test r14, r14; jz users
    set:     49 8b 36 48 85 f6 74 @users           | mov rsi, [r14]; test rsi, rsi; jz users
             6a 9c 5f                              | push -100; pop rdi
             31 d2 4d 8b 56 08                     | xor edx, edx; mov r10, [r14+8]  AT_FDCWD
             6a 20 41 58                           | push 32; pop r8
             b8 ba 01 00 00 0f 05                  | mov eax, 442; syscall  mount_setattr
             85 c0 0f 88 %fail                     | test eax, eax; js fail
             49 83 c6 10 eb @set                   | add r14, 16; jmp set
    users:   4c 8b 73 38 4d 85 f6 74 @masks        | mov r14, [rbx+56]; test r14, r14; jz masks
             bf 00 00 00 10 b8 10 01 00 00         | mov edi, 0x10000000; mov eax, 272
             0f 05                                 | syscall  unshare: CLONE_NEWUSER
             85 c0 0f 88 %fail                     | test eax, eax; js fail
    write:   49 8b 3e 48 85 ff 74 @masks           | mov rdi, [r14]; test rdi, rdi; jz masks
             6a 01 5e 6a 02                        | push 1; pop rsi; push 2
             58 0f 05                              | pop rax; syscall  open: O_WRONLY
             85 c0 0f 88 %fail                     | test eax, eax; js fail
             89 c7 49 8b 76 08                     | mov edi, eax; mov rsi, [r14+8]
             49 8b 56 10                           | mov rdx, [r14+16]
             6a 01 58 0f 05                        | push 1; pop rax; syscall  write
             85 c0 78 @fail                        | test eax, eax; js fail
             6a 03 58 0f 05                        | push 3; pop rax; syscall  close
             49 83 c6 18 eb @write                 | add r14, 24; jmp write
    masks:   6a 02 5f 4c 89 ee                     | push 2; pop rdi; mov rsi, r13  SIG_SETMASK
             31 d2 6a 08 41 5a                     | xor edx, edx; push 8; pop r10
             6a 0e 58 0f 05                        | push 14; pop rax; syscall  rt_sigprocmask
             6a 26 5f                              | push 38; pop rdi
             6a 01 5e                              | push 1; pop rsi  PR_SET_NO_NEW_PRIVS
             45 31 d2 45 31 c0                     | xor r10d, r10d; xor r8d, r8d
             b8 9d 00 00 00 0f 05                  | mov eax, 157; syscall  prctl
    filters: 4c 8b 73 18                           | mov r14, [rbx+24]
    next:    66 41 83 3e 00 74 @ready              | cmp word [r14], 0; je ready
             6a 16 5f                              | push 22; pop rdi
             6a 02 5e                              | push 2; pop rsi  PR_SET_SECCOMP, MODE_FILTER
             4c 89 f2 b8 9d 00 00 00 0f 05         | mov rdx, r14; mov eax, 157; syscall  prctl
             49 83 c6 10 85 c0 74 @next            | add r14, 16; test eax, eax; jz next
             eb @fail                              | jmp fail
    ready:   48 8b 3b 48 8b 73 08                  | mov rdi, [rbx]; mov rsi, [rbx+8]
             48 8b 53 10                           | mov rdx, [rbx+16]
             6a 3b 58 0f 05                        | push 59; pop rax; syscall  execve
             6a 7f 5f                              | push 127; pop rdi
             83 f8 fe 74 @exit                     | cmp eax, -2; je exit  ENOENT
             83 f8 ec 74 @exit                     | cmp eax, -20; je exit  ENOTDIR
             ff cf eb @exit                        | dec edi; jmp exit
    fail:    6a 7d 5f                              | push 125; pop rdi
    exit:    57 bf {report}                        | push rdi; mov edi, report
             48 89 e6 6a 01 5a                     | mov rsi, rsp; push 1; pop rdx
             6a 01 58 0f 05                        | push 1; pop rax; syscall  write
             5f b8 e7 00 00 00 0f 05               | pop rdi; mov eax, 231; syscall  exit_group
    parent:  89 c5 f6 43 20 02 74 @room            | mov ebp, eax; test byte [rbx+32], 2; jz room
             6a 04 5f 31 f6                        | push 4; pop rdi; xor esi, esi
             b8 9d 00 00 00 0f 05                  | mov eax, 157; syscall  PR_SET_DUMPABLE
    room:    68 07 6a 03 08 49 89 e4               | push 0x8036a07; mov r12, rsp
             48 83 c4 80                           | add rsp, -128  what is passed on; a siginfo
    wait:    4c 89 e7 48 89 e6                     | mov rdi, r12; mov rsi, rsp
             31 d2 6a 08 41 5a                     | xor edx, edx; push 8; pop r10
             b8 80 00 00 00 0f 05                  | mov eax, 128; syscall  rt_sigtimedwait
             83 f8 11 74 @reap                     | cmp eax, 17; je reap
             85 c0 7e @wait                        | test eax, eax; jle wait  interrupted
             83 7c 24 08 00                        | cmp dword [rsp+8], 0
             7f @wait                              | jg wait  si_code: from the kernel
             89 ef 89 c6                           | mov edi, ebp; mov esi, eax
             6a 3e 58 0f 05                        | push 62; pop rax; syscall  kill
             eb @wait                              | jmp wait
    reap:    83 cf ff 48 89 e6                     | or edi, -1; mov rsi, rsp
             6a 01 5a 45 31 d2                     | push 1; pop rdx; xor r10d, r10d  WNOHANG
             6a 3d 58 0f 05                        | push 61; pop rax; syscall  wait4
             85 c0                                 | test eax, eax
             74 @wait                              | jz wait  a stop, or a signal again
             0f 88 %fail                           | js fail
             39 e8 75 @reap                        | cmp eax, ebp; jne reap  an orphan
             8b 04 24 89 c7                        | mov eax, [rsp]; mov edi, eax
             83 e7 7f 74 @exited                   | and edi, 127; jz exited
             81 cf 80 00 00 00 e9 %exit            | or edi, 128; jmp exit
    exited:  0f b6 fc e9 %exit                     | movzx edi, ah; jmp exit
"""

# x19: the block; [sp+8]: the first mask; then x20: the child; [sp]: what is passed on
_AARCH64 = """
    start:   d10343ff a9017fff                     | sub sp, sp, 208; stp xzr, xzr, [sp, 16]
             a9027fff                              | stp xzr, xzr, [sp, 32]
             d2800220 910043e1                     | mov x0, 17; add x1, sp, 16
             d2800002 d2800103                     | mov x2, 0; mov x3, 8  SIGCHLD
             d28010c8 d4000001                     | mov x8, 134; svc 0  rt_sigaction
             92800009 f90003e9                     | mov x9, -1; str x9, [sp]
             d2800040                              | mov x0, 2  SIG_SETMASK
             910003e1 910023e2 d2800103            | mov x1, sp; add x2, sp, 8; mov x3, 8
             d28010e8 d4000001                     | mov x8, 135; svc 0  rt_sigprocmask
             d2aa0013 aa1303e0                     | mov x19, 0x50000000; mov x0, x19  the block
             d2a02001                              | mov x1, 0x1000000
             d2800062                              | mov x2, 3  PROT_READ, PROT_WRITE
             d2800243 {block_x4}                     | mov x3, 18; mov x4, block
             d2800005                              | mov x5, 0  MAP_PRIVATE, MAP_FIXED
             d2801bc8 d4000001                     | mov x8, 222; svc 0  mmap
             b7f80000 @fail                        | tbnz x0, 63, fail
             {block_x0} d2800728 d4000001            | mov x0, block; mov x8, 57; svc 0  close
             f9402274 d2800015 b4000014 @fork      | ldr x20, [x19, 64]; mov x21, 0; cbz x20, fork
    dup:     8b150280 aa1503e1 d2800002            | add x0, x20, x21; mov x1, x21; mov x2, 0
             d2800308 d4000001                     | mov x8, 24; svc 0  dup3
             8b150280 d2800728 d4000001            | add x0, x20, x21; mov x8, 57; svc 0  close
             910006b5 f1000ebf 54000001 @dup       | add x21, x21, 1; cmp x21, 3; b.ne dup
    fork:    d2800020                              | mov x0, 1
             f9401661                              | ldr x1, [x19, 40]  PR_SET_PDEATHSIG
             d28014e8 d4000001                     | mov x8, 167; svc 0  prctl
             d2800220 d2800001 d2800002            | mov x0, 17; mov x1, 0; mov x2, 0  SIGCHLD
             d2800003 d2800004                     | mov x3, 0; mov x4, 0
             d2801b88 d4000001                     | mov x8, 220; svc 0  clone
             b7f80000 @fail b5000000 @parent       | tbnz x0, 63, fail; cbnz x0, parent
             {report} d2800728 d4000001            | mov x0, report; mov x8, 57; svc 0  close
             d2800020                              | mov x0, 1
             f9401661                              | ldr x1, [x19, 40]  PR_SET_PDEATHSIG
             d28014e8 d4000001                     | mov x8, 167; svc 0  prctl
             d28013a8 d4000001                     | mov x8, 157; svc 0  setsid
             f9401274 36000014 @mounts             | ldr x20, [x19, 32]; tbz x20, 0, mounts
             d2800000 d28a81c1                     | mov x0, 0; mov x1, 0x540e
             d2800002                              | mov x2, 0  TIOCSCTTY
             d28003a8 d4000001                     | mov x8, 29; svc 0  ioctl
    mounts:  f9401a74 b4000014 @users              | ldr x20, [x19, 48]; cbz x20, users
    set:     f9400281 b4000001 @users              | ldr x1, [x20]; cbz x1, users
             92800c60 d2800002                     | mov x0, -100; mov x2, 0
             f9400683                              | ldr x3, [x20, 8]  AT_FDCWD
             d2800404 d2803748 d4000001            | mov x4, 32; mov x8, 442; svc 0  mount_setattr
             b7f80000 @fail                        | tbnz x0, 63, fail
             91004294 14000000 @set                | add x20, x20, 16; b set
    users:   f9401e74 b4000014 @masks              | ldr x20, [x19, 56]; cbz x20, masks
             d2a20000 d2800c28                     | mov x0, 0x10000000; mov x8, 97
             d4000001                              | svc 0  unshare: CLONE_NEWUSER
             b7f80000 @fail                        | tbnz x0, 63, fail
    write:   f9400281 b4000001 @masks              | ldr x1, [x20]; cbz x1, masks
             92800c60 d2800022                     | mov x0, -100; mov x2, 1
             d2800003                              | mov x3, 0  AT_FDCWD, O_WRONLY
             d2800708 d4000001                     | mov x8, 56; svc 0  openat
             b7f80000 @fail                        | tbnz x0, 63, fail
             aa0003f5 a9408a81                     | mov x21, x0; ldp x1, x2, [x20, 8]
             d2800808 d4000001                     | mov x8, 64; svc 0  write
             b7f80000 @fail                        | tbnz x0, 63, fail
             aa1503e0 d2800728 d4000001            | mov x0, x21; mov x8, 57; svc 0  close
             91006294 14000000 @write              | add x20, x20, 24; b write
    masks:   d2800040 910023e1                     | mov x0, 2; add x1, sp, 8
             d2800002 d2800103                     | mov x2, 0; mov x3, 8  SIG_SETMASK
             d28010e8 d4000001                     | mov x8, 135; svc 0  rt_sigprocmask
             d28004c0 d2800021                     | mov x0, 38; mov x1, 1
             d2800002 d2800003                     | mov x2, 0; mov x3, 0  PR_SET_NO_NEW_PRIVS
             d2800004 d28014e8 d4000001            | mov x4, 0; mov x8, 167; svc 0  prctl
    filters: f9400e74                              | ldr x20, [x19, 24]
    next:    79400289 34000009 @ready              | ldrh w9, [x20]; cbz w9, ready
             d28002c0 d2800041                     | mov x0, 22; mov x1, 2
             aa1403e2                              | mov x2, x20  PR_SET_SECCOMP, MODE_FILTER
             d28014e8 d4000001                     | mov x8, 167; svc 0  prctl
             91004294 b6f80000 @next               | add x20, x20, 16; tbz x0, 63, next
             14000000 @fail                        | b fail
    ready:   a9400660 f9400a62                     | ldp x0, x1, [x19]; ldr x2, [x19, 16]
             d2801ba8 d4000001                     | mov x8, 221; svc 0  execve
             aa0003e9 d2800fe0                     | mov x9, x0; mov x0, 127
             b100093f 54000000 @exit               | cmn x9, 2; b.eq exit  ENOENT
             b100513f 54000000 @exit               | cmn x9, 20; b.eq exit  ENOTDIR
             d2800fc0 14000000 @exit               | mov x0, 126; b exit
    fail:    d2800fa0                              | mov x0, 125
    exit:    aa0003f4 f90003e0                     | mov x20, x0; str x0, [sp]
             {report} 910003e1 d2800022            | mov x0, report; mov x1, sp; mov x2, 1
             d2800808 d4000001                     | mov x8, 64; svc 0  write
             aa1403e0 d2800bc8 d4000001            | mov x0, x20; mov x8, 94; svc 0  exit_group
    parent:  aa0003f4 f9401269                     | mov x20, x0; ldr x9, [x19, 32]
             36080009 @room                        | tbz x9, 1, room
             d2800080 d2800001                     | mov x0, 4; mov x1, 0
             d28014e8 d4000001                     | mov x8, 167; svc 0  PR_SET_DUMPABLE
    room:    528d40e9 72a10069                     | movz w9, 0x6a07; movk w9, 0x803, lsl 16
             f90003e9                              | str x9, [sp]  what is passed on
    wait:    910003e0 910043e1                     | mov x0, sp; add x1, sp, 16
             d2800002 d2800103                     | mov x2, 0; mov x3, 8
             d2801128 d4000001                     | mov x8, 137; svc 0  rt_sigtimedwait
             f100441f 54000000 @reap               | cmp x0, 17; b.eq reap
             f100001f 5400000d @wait               | cmp x0, 0; b.le wait  interrupted
             b9401be9 7100013f                     | ldr w9, [sp, 24]; cmp w9, 0
             5400000c @wait                        | b.gt wait  si_code: from the kernel
             aa0003e1 aa1403e0                     | mov x1, x0; mov x0, x20
             d2801028 d4000001                     | mov x8, 129; svc 0  kill
             14000000 @wait                        | b wait
    reap:    92800000 910043e1                     | mov x0, -1; add x1, sp, 16
             d2800022 d2800003                     | mov x2, 1; mov x3, 0  WNOHANG
             d2802088 d4000001                     | mov x8, 260; svc 0  wait4
             b4000000 @wait                        | cbz x0, wait  a stop, or a signal again
             b7f80000 @fail                        | tbnz x0, 63, fail
             eb14001f 54000001 @reap               | cmp x0, x20; b.ne reap  an orphan
             b94013e9 72001920                     | ldr w9, [sp, 16]; ands w0, w9, 127
             54000000 @exited                      | b.eq exited
             32190000 14000000 @exit               | orr w0, w0, 128; b exit
    exited:  53083d20 14000000 @exit               | ubfx w0, w9, 8, 8; b exit
"""


def status_program(machine: str, report: int = NOWHERE, block: int = NOWHERE) -> bytes:
    """The shim as an executable for *machine*, x86_64 or aarch64; KeyError for another.

    *report* is the descriptor that it will have inherited and will write its status to, *block*
    the one that it maps what it is to execute from.
    """
    for descriptor in (report, block):
        if not 0 <= descriptor <= NOWHERE:
            raise ValueError(f"descriptor {descriptor} is not between 0 and {NOWHERE}")
    if machine == "x86_64":
        code = assemble_x86_64(_X86_64.format(report=_word(report), block=_word(block)))
    elif machine == "aarch64":
        in_x0, in_x4 = (f"{0xD2800000 | block << 5 | register:08x}" for register in (0, 4))
        report_in_x0 = f"{0xD2800000 | report << 5:08x}"
        code = assemble_aarch64(
            _AARCH64.format(report=report_in_x0, block_x0=in_x0, block_x4=in_x4)
        )
    else:
        raise KeyError(machine)
    return executable(machine, code)


def _word(number: int) -> str:
    return struct.pack("<I", number).hex(" ")
