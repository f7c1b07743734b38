"""The one exception that means "the user can mend this"."""

from __future__ import annotations


class UserError(ValueError):
    """Report bad input: a missing folder, a corrupt file, an impossible setting.

    The message is one line that names the thing and the remedy. Commands print it and exit with
    status 1, without a traceback. Any other exception is a bug and keeps its traceback.
    """
