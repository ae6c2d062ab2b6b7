"""What the library logs, shown to people by the command line."""

import sys

from edge_runtime.units import visible


def log_to_stderr(*, verbose: bool, quiet: bool) -> None:
    """Show what the logger "edge_runtime" is told on stderr: warnings, with `verbose` notes too, nothing if `quiet`."""
    import logging  # noqa: PLC0415 - 5 ms that verbs without an engine need not pay

    class Stderr(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            sys.stderr.write(f"edge: {visible(self.format(record))}\n")

    logger = logging.getLogger("edge_runtime")
    logger.handlers = [Stderr()]  # not one more at each call
    logger.setLevel(logging.INFO if verbose else logging.CRITICAL if quiet else logging.WARNING)
