"""cwltool's own tests of containers, with our executables ``docker`` and ``podman`` on PATH."""
