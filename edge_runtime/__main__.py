"""`python -m edge_runtime` is `edge`."""

import sys

from edge_runtime.cli import main

sys.exit(main())
