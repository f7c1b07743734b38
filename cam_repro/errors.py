"""The one exception that means "the user can mend this"."""

from __future__ import annotations


class UserError(ValueError):
    """Bad input: a missing folder, a corrupt file, an impossible setting.

    The message is one line that names the thing and the remedy. Commands print it and exit with
    status 1, without a traceback; any other exception is a defect of ours and keeps its traceback.
    """
