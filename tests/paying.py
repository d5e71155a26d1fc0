"""The command ``billblend`` with a shorter time for doubt; run as a file by tests.

``paying.py SECONDS pay ...`` is ``billblend pay ...`` whose payouts stay in doubt for so many
seconds and not for the usual 15 minutes. All else is the command's own.
"""

import sys
from functools import partial
from unittest.mock import patch

from billblend_async import cli, orchestrator
from billblend_async.models import Deadlines

if __name__ == "__main__":
    deadlines = Deadlines(doubt=float(sys.argv[1]))
    impatient = partial(orchestrator.Orchestrator, deadlines=deadlines)
    with patch.object(orchestrator, "Orchestrator", impatient):
        sys.exit(cli.main(sys.argv[2:]))
