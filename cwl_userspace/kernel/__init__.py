"""What the Linux kernel offers: system calls, seccomp filters, Landlock."""
