"""``python -m cwl_userspace``: the same as the ``cwl-userspace`` command."""

from cwl_userspace.cli import entry

entry()
