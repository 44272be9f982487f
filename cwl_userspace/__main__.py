"""``python -m cwl_userspace``: the same as the ``cwl-userspace`` command."""

import sys

from cwl_userspace.cli import main

sys.exit(main())
