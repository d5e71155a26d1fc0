"""``python -m billblend_async`` is the ``billblend`` command."""

import sys

from .cli import main

sys.exit(main())
