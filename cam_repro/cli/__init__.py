"""Start the commands from the command line, one file a command; ``commands/`` does the work."""

import sys
from types import TracebackType


def _say_stopped(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    """Print one line for Ctrl-C while libraries are imported, before any command can catch it."""
    if issubclass(kind, KeyboardInterrupt):
        print("stopped: nothing was done yet", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, traceback)


sys.excepthook = _say_stopped
