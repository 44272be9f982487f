"""What help and manual pages say of a verb beyond its summary and its options.

By the verb, with the command itself under the empty name: a paragraph, and lines of examples. A
verb without an entry is described by its summary alone.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MANUAL: Mapping[str, tuple[str, Sequence[str]]] = {
    "": (
        "cwl-userspace runs containers without Docker, root, a setuid program or a daemon: images "
        "are fetched straight from a registry, a mirror or an archive, flattened once into a "
        "store, and never modified by a run. Its words are Docker's. "
        "cwltool --user-space-docker-cmd=cwl-userspace calls it, cwltool-userspace is cwltool with "
        "it built in, and toil-cwl-userspace is Toil.",
        (
            "cwl-userspace doctor",
            "cwl-userspace run debian:stable-slim cat /etc/os-release",
            "cwltool-userspace workflow.cwl job.yml",
        ),
    ),
    "run": (
        "The image is fetched if the store lacks it. The program gets the image's environment, "
        "what is given with --env, PATH, HOME and HOSTNAME, and nothing else of the caller's. "
        "What it writes outside its mounts is gone when it ends, unless it runs in a container "
        "that create made, which is named in place of an image.",
        (
            "cwl-userspace run debian:stable-slim cat /etc/os-release",
            'cwl-userspace run -v "$PWD:/work" -w /work python:3-slim python3 script.py',
            "cwl-userspace run -it -u root debian:stable-slim bash",
            "cwl-userspace --engine proot run --network none alpine wget http://localhost/",
        ),
    ),
    "create": (
        "The container is a private copy of the image's tree, in the store, which every engine "
        "writes; it needs the image no longer. Options that are given here hold for every run.",
        (
            "cwl-userspace create --name mine debian:stable-slim",
            "cwl-userspace run -u root mine sh -c 'apt-get update && apt-get install -y khmer'",
            "cwl-userspace rm mine",
        ),
    ),
    "exec": ("", ("cwl-userspace exec mine ps aux", "cwl-userspace exec -it mine sh")),
    "logs": ("", ("cwl-userspace logs -f mine",)),
    "stop": ("", ("cwl-userspace stop -t 30 mine",)),
    "start": ("", ("cwl-userspace start mine",)),
    "rename": ("", ("cwl-userspace rename mine ours",)),
    "tag": ("", ("cwl-userspace tag debian:stable-slim docker.io/me/base:1",)),
    "cp": ("", ("cwl-userspace cp mine:/etc/hosts .", "cwl-userspace cp data mine:/srv")),
    "search": ("", ("cwl-userspace search biocontainers/samtools",)),
    "ps": ("", ("cwl-userspace ps -a",)),
    "rm": ("", ("cwl-userspace rm mine",)),
    "pull": (
        "Asked are the mirrors of the image's registry, in the order of the settings, and then the "
        "registry. A blob that the store has is not fetched again.",
        (
            "cwl-userspace pull debian:stable-slim",
            "cwl-userspace pull --platform linux/arm64 quay.io/biocontainers/samtools:1.17",
        ),
    ),
    "prefetch": (
        "Documents are read with all that they import, so that nodes without internet have every "
        "image before the first job.",
        (
            "cwl-userspace prefetch --list workflow.cwl",
            "cwl-userspace prefetch --to oci:/shared/images workflow.cwl",
        ),
    ),
    "images": (
        "",
        ("cwl-userspace images --filter reference='debian*'", "cwl-userspace images --format json"),
    ),
    "inspect": ("", ("cwl-userspace inspect -p debian:stable-slim   # the path of its tree",)),
    "load": (
        "",
        ("cwl-userspace load -i image.tar", "ssh far docker save tool | cwl-userspace load"),
    ),
    "import": (
        "The tree may be a tar as docker export writes it, a directory as debootstrap makes it, or "
        "a squashfs file.",
        ("cwl-userspace import rootfs.tar me/tool:1", "cwl-userspace import ./rootfs me/tool:1"),
    ),
    "bootstrap": (
        "A minimal system with its package manager, made of a distribution's packages by "
        "debootstrap as an emulated root, without Docker and without rights. Where this host has "
        "none, it is fetched with apt-get and kept below the store. Packages come from the mirror "
        "that is given, or else from where this host has its own.",
        (
            "cwl-userspace bootstrap debian:bookworm",
            "cwl-userspace bootstrap debian:bookworm --include khmer --tag docker.io/me/khmer:1",
            "cwl-userspace bootstrap debian:sid --mirror http://mirror.example.org/debian",
        ),
    ),
    "rmi": ("", ("cwl-userspace rmi debian:stable-slim",)),
    "prune": (
        "Nothing goes that is in use on any node, or protected.",
        (
            "cwl-userspace prune --older-than 30d --keep-size 20g",
            "cwl-userspace prune --whole-store",
        ),
    ),
    "verify": (
        "Every file is held against what was written down when its image was flattened.",
        ("cwl-userspace verify --repair",),
    ),
    "protect": ("Neither rmi nor prune removes what is protected.", ()),
    "kill": ("", ("cwl-userspace kill -s INT mine",)),
    "build": (
        "RUN is root's, with apt-get install and useradd as usual; the files belong to you. A step "
        "that was done before, with the same files and arguments, is taken from the store.",
        ("cwl-userspace build -t counter .", "cwl-userspace build -t counter --target tests ."),
    ),
    "save": ("", ("cwl-userspace save -o counter.tar counter",)),
    "flatten": (
        "The same image gives the same bytes each time.",
        (
            "cwl-userspace flatten debian:stable-slim debian.tar",
            "cwl-userspace flatten debian:stable-slim debian.squashfs",
        ),
    ),
    "export": ("", ("cwl-userspace export -o mine.tar mine",)),
    "shim": (
        "Programs that know of nothing but these names find them on PATH, and run containers with "
        "us. The line that puts them there is printed.",
        ('eval "$(cwl-userspace shim docker podman --dir ~/cwl-docker)"',),
    ),
    "setup": (
        "A build is kept below the store if its bytes are those that were named and it works here.",
        ("cwl-userspace setup proot --url https://proot.gitlab.io/proot/bin/proot --sha256 HEX",),
    ),
    "login": ("", ("cwl-userspace login -u me --password-stdin registry.example.org < token",)),
    "doctor": (
        "Every promise of each engine is attacked from inside real containers; with --quick it is "
        "only said what is promised.",
        ("cwl-userspace doctor --quick",),
    ),
    "completion": (
        "Verbs, options, the names of images and of containers are completed.",
        (
            'eval "$(cwl-userspace completion bash)"            # in ~/.bashrc',
            'eval "$(cwl-userspace completion zsh)"             # in ~/.zshrc, after compinit',
            "cwl-userspace completion fish | source            # in ~/.config/fish/config.fish",
        ),
    ),
    "help": (
        "",
        (
            "cwl-userspace help run",
            "cwl-userspace help --man ~/.local/share/man && man cwl-userspace-run",
        ),
    ),
}
VARIABLES: Mapping[str, str] = {
    "CWL_USERSPACE_CONFIG": "the settings file",
    "CWL_USERSPACE_HOME": "the store",
    "CWL_USERSPACE_STORE_PATH": "stores, with colons between them: yours, then others' to read",
    "CWL_USERSPACE_LOCAL_STORE": "a directory on a local disk for trees",
    "CWL_USERSPACE_ENGINE": "the engine: auto, or one that doctor lists",
    "CWL_USERSPACE_ON_UNMET": "what to do where an engine cannot promise: refuse, warn or copy",
    "CWL_USERSPACE_OFFLINE": "1: ask no network",
    "CWL_USERSPACE_PROOT": "which proot to take",
}
FILES: Mapping[str, str] = {
    "~/.config/cwl-userspace/config.yml": "the settings, as docs/settings.rst has them",
    "~/.cache/cwl-userspace": "the store, if no other is named",
    "~/.local/state/cwl-userspace/log": "what was said, and what did not matter enough to be said",
}
