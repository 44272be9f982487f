"""The numbers of system calls: those of the kernel's own tables.

These are arch/*/entry/syscalls/*.tbl and include/uapi/asm-generic/unistd.h; from 424 on a call
has the same number on every machine. Only calls that something here makes or filters are listed.
"""

from __future__ import annotations

# fmt: off
_EVERYWHERE = {
    "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427,
    "open_tree": 428, "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432,
    "fspick": 433, "pidfd_open": 434, "clone3": 435, "openat2": 437, "pidfd_getfd": 438,
    "faccessat2": 439, "mount_setattr": 442, "quotactl_fd": 443,
    "landlock_create_ruleset": 444, "landlock_add_rule": 445, "landlock_restrict_self": 446,
    "fchmodat2": 452, "setxattrat": 463, "getxattrat": 464, "listxattrat": 465,
    "removexattrat": 466, "open_tree_attr": 467, "file_getattr": 468, "file_setattr": 469,
}

_BY_MACHINE = {
    "x86_64": {
        "getuid": 102, "getgid": 104, "geteuid": 107, "getegid": 108, "getresuid": 118,
        "getresgid": 120,
        "ioctl": 16, "socket": 41, "clone": 56, "chmod": 90, "fchmod": 91, "chown": 92,
        "fchown": 93, "lchown": 94, "syslog": 103, "setuid": 105, "setgid": 106, "setreuid": 113,
        "setregid": 114, "setgroups": 116, "setresuid": 117, "setresgid": 119, "setfsuid": 122,
        "setfsgid": 123, "utime": 132, "mknod": 133, "uselib": 134, "personality": 135,
        "ustat": 136, "sysfs": 139, "vhangup": 153, "pivot_root": 155, "_sysctl": 156,
        "prctl": 157, "acct": 163, "settimeofday": 164, "mount": 165, "umount2": 166,
        "swapon": 167, "swapoff": 168, "reboot": 169, "iopl": 172, "ioperm": 173,
        "create_module": 174, "init_module": 175, "delete_module": 176, "get_kernel_syms": 177,
        "query_module": 178, "quotactl": 179, "nfsservctl": 180, "setxattr": 188,
        "lsetxattr": 189, "fsetxattr": 190, "removexattr": 197, "lremovexattr": 198,
        "fremovexattr": 199, "lookup_dcookie": 212, "clock_settime": 227, "utimes": 235,
        "kexec_load": 246, "add_key": 248, "request_key": 249, "keyctl": 250, "mknodat": 259,
        "fchownat": 260, "futimesat": 261, "fchmodat": 268, "unshare": 272, "utimensat": 280,
        "perf_event_open": 298, "fanotify_init": 300, "fanotify_mark": 301,
        "name_to_handle_at": 303, "open_by_handle_at": 304, "setns": 308, "finit_module": 313,
        "renameat2": 316, "seccomp": 317, "kexec_file_load": 320, "bpf": 321, "execveat": 322,
        "userfaultfd": 323, "statx": 332,
    },
    "i386": {
        "getuid": 24, "getgid": 47, "geteuid": 49, "getegid": 50, "getresuid": 165,
        "getresgid": 171, "getuid32": 199, "getgid32": 200, "geteuid32": 201, "getegid32": 202,
        "getresuid32": 209, "getresgid32": 211,
        "mknod": 14, "chmod": 15, "lchown": 16, "mount": 21, "umount": 22, "setuid": 23,
        "stime": 25, "utime": 30, "setgid": 46, "acct": 51, "umount2": 52, "ioctl": 54,
        "ustat": 62, "setreuid": 70, "setregid": 71, "settimeofday": 79, "setgroups": 81,
        "uselib": 86, "swapon": 87, "reboot": 88, "fchmod": 94, "fchown": 95, "ioperm": 101,
        "socketcall": 102, "syslog": 103, "iopl": 110, "vhangup": 111, "vm86old": 113,
        "swapoff": 115, "clone": 120, "create_module": 127, "init_module": 128,
        "delete_module": 129, "get_kernel_syms": 130, "quotactl": 131, "sysfs": 135,
        "personality": 136, "setfsuid": 138, "setfsgid": 139, "_sysctl": 149, "setresuid": 164,
        "vm86": 166, "query_module": 167, "nfsservctl": 169, "setresgid": 170, "prctl": 172,
        "chown": 182, "lchown32": 198, "setreuid32": 203, "setregid32": 204, "setgroups32": 206,
        "fchown32": 207, "setresuid32": 208, "setresgid32": 210, "chown32": 212, "setuid32": 213,
        "setgid32": 214, "setfsuid32": 215, "setfsgid32": 216, "pivot_root": 217, "setxattr": 226,
        "lsetxattr": 227, "fsetxattr": 228, "removexattr": 235, "lremovexattr": 236,
        "fremovexattr": 237, "lookup_dcookie": 253, "clock_settime": 264, "utimes": 271,
        "kexec_load": 283, "add_key": 286, "request_key": 287, "keyctl": 288, "mknodat": 297,
        "fchownat": 298, "futimesat": 299, "fchmodat": 306, "unshare": 310, "utimensat": 320,
        "perf_event_open": 336, "fanotify_init": 338, "fanotify_mark": 339,
        "name_to_handle_at": 341, "open_by_handle_at": 342, "setns": 346, "finit_module": 350,
        "renameat2": 353, "seccomp": 354, "bpf": 357, "execveat": 358, "socket": 359,
        "userfaultfd": 374, "statx": 383, "clock_settime64": 404, "utimensat_time64": 412,
    },
    "aarch64": {
        "getresuid": 148, "getresgid": 150, "getuid": 174, "geteuid": 175, "getgid": 176,
        "getegid": 177,
        "setxattr": 5, "lsetxattr": 6, "fsetxattr": 7, "removexattr": 14, "lremovexattr": 15,
        "fremovexattr": 16, "lookup_dcookie": 18, "ioctl": 29, "mknodat": 33, "umount2": 39,
        "mount": 40, "pivot_root": 41, "nfsservctl": 42, "fchmod": 52, "fchmodat": 53,
        "fchownat": 54, "fchown": 55, "vhangup": 58, "quotactl": 60, "utimensat": 88, "acct": 89,
        "personality": 92, "unshare": 97, "kexec_load": 104, "init_module": 105,
        "delete_module": 106, "clock_settime": 112, "syslog": 116, "reboot": 142, "setregid": 143,
        "setgid": 144, "setreuid": 145, "setuid": 146, "setresuid": 147, "setresgid": 149,
        "setfsuid": 151, "setfsgid": 152, "setgroups": 159, "prctl": 167, "settimeofday": 170,
        "socket": 198, "add_key": 217, "request_key": 218, "keyctl": 219, "clone": 220,
        "swapon": 224, "swapoff": 225, "perf_event_open": 241, "fanotify_init": 262,
        "fanotify_mark": 263, "name_to_handle_at": 264, "open_by_handle_at": 265, "setns": 268,
        "finit_module": 273, "renameat2": 276, "seccomp": 277, "bpf": 280, "execveat": 281,
        "userfaultfd": 282, "statx": 291, "kexec_file_load": 294,
    },
    "arm": {
        "getuid": 24, "getgid": 47, "geteuid": 49, "getegid": 50, "getresuid": 165,
        "getresgid": 171, "getuid32": 199, "getgid32": 200, "geteuid32": 201, "getegid32": 202,
        "getresuid32": 209, "getresgid32": 211,
        "mknod": 14, "chmod": 15, "lchown": 16, "mount": 21, "setuid": 23, "setgid": 46,
        "acct": 51, "umount2": 52, "ioctl": 54, "ustat": 62, "setreuid": 70, "setregid": 71,
        "settimeofday": 79, "setgroups": 81, "uselib": 86, "swapon": 87, "reboot": 88,
        "fchmod": 94, "fchown": 95, "socketcall": 102, "syslog": 103, "vhangup": 111,
        "swapoff": 115, "clone": 120, "init_module": 128, "delete_module": 129, "quotactl": 131,
        "sysfs": 135, "personality": 136, "setfsuid": 138, "setfsgid": 139, "_sysctl": 149,
        "setresuid": 164, "nfsservctl": 169, "setresgid": 170, "prctl": 172, "chown": 182,
        "lchown32": 198, "setreuid32": 203, "setregid32": 204, "setgroups32": 206,
        "fchown32": 207, "setresuid32": 208, "setresgid32": 210, "chown32": 212, "setuid32": 213,
        "setgid32": 214, "setfsuid32": 215, "setfsgid32": 216, "pivot_root": 218, "setxattr": 226,
        "lsetxattr": 227, "fsetxattr": 228, "removexattr": 235, "lremovexattr": 236,
        "fremovexattr": 237, "lookup_dcookie": 249, "clock_settime": 262, "utimes": 269,
        "socket": 281, "add_key": 309, "request_key": 310, "keyctl": 311, "mknodat": 324,
        "fchownat": 325, "futimesat": 326, "fchmodat": 333, "unshare": 337, "kexec_load": 347,
        "utimensat": 348, "perf_event_open": 364, "fanotify_init": 367, "fanotify_mark": 368,
        "name_to_handle_at": 370, "open_by_handle_at": 371, "setns": 375, "finit_module": 379,
        "renameat2": 382, "seccomp": 383, "bpf": 386, "execveat": 387, "userfaultfd": 388,
        "statx": 397, "kexec_file_load": 401, "clock_settime64": 404, "utimensat_time64": 412,
    },
}
# fmt: on


def numbers(machine: str) -> dict[str, int]:
    """The system call numbers of *machine*, as uname names it, or of its 32-bit kin.

    The machines are x86_64, aarch64, i386 and arm; KeyError for another.
    """
    return {**_BY_MACHINE[machine], **_EVERYWHERE}
