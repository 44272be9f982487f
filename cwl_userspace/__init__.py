"""Run the container of any CWL tool in user space: no Docker, root, setuid binary or daemon."""

__version__ = "0.1.0"
