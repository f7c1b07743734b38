"""Say what the user can mend: the one exception for it, and the words that messages share."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

LIKE = 0.7
"""How alike two spellings are, 0 to 1, if one may be a slip for the other."""


class UserError(ValueError):
    """Report bad input: a missing folder, a corrupt file, an impossible setting.

    The message is one line that names the thing and the remedy. Commands print it and exit with
    status 1, without a traceback. Any other exception is a bug and keeps its traceback, unless it
    comes from the user's own code.
    """


class Stopped(KeyboardInterrupt):
    """Report that a command was stopped from outside, by Ctrl-C or a signal.

    The message says what is kept of its work. Commands print it with the command that goes on, and
    exit with status 130.
    """


@contextlib.contextmanager
def if_stopped(kept: str) -> Iterator[None]:
    """Turn Ctrl-C within a ``with`` block (or a decorated function) into ``Stopped(kept)``.

    What code inside says is kept is more exact, and stays.
    """
    try:
        yield
    except (KeyboardInterrupt, Exception) as error:
        interrupt = interrupt_behind(error)
        if interrupt is None:
            raise
        raise (interrupt if isinstance(interrupt, Stopped) else Stopped(kept)) from None


def interrupt_behind(error: BaseException) -> KeyboardInterrupt | None:
    """Find Ctrl-C in what led to an error; None if it was something else.

    While Python makes a class, in an import, it turns Ctrl-C into a RuntimeError. And a second
    signal (after Ctrl-C, torchrun sends another) may come while the first one is answered: of
    these, the one that says what is kept is given.
    """
    found = None
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, Stopped):
            return link
        if isinstance(link, KeyboardInterrupt):
            found = link
        link = link.__cause__ or link.__context__
    return found


def choose(name: str, names: Iterable[str]) -> str:
    """Say for a message which names there are, and which of them ``name`` may be meant to be."""
    known = list(names)
    return f"choose one of {', '.join(known)}{did_you_mean(name, known)}"


def one_of(key: str, value: str, names: Iterable[str]) -> None:
    """Raise UserError unless the value of a setting is one of these names."""
    known = list(names)
    if value not in known:
        raise UserError(f"{key}={value}: {choose(value, known)}")


OTHER_NAMES = {"imagenet": "ilsvrc", "imagenet1k": "ilsvrc"}
"""What is called otherwise elsewhere, and spelt like something else here."""


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Ask, as the end of a message, for the names that are spelt almost as ``name``; else "".

    The name of a setting (``optim.lr``) is also found by its last part alone (``lr``), and a thing
    by the name that it has elsewhere (``OTHER_NAMES``).
    """
    names = list(names)
    if (here := OTHER_NAMES.get(name.lower())) in names:
        return f"; did you mean {here}?"
    from difflib import SequenceMatcher  # only needed when something is wrong

    start, end = name.partition(".")[0], name.rpartition(".")[2]

    def likeness(known: str) -> float:
        """Compare spellings, 0 to 1; last parts count if they are equal, or in one group."""
        whole = SequenceMatcher(None, name, known).ratio()
        known_end = known.rpartition(".")[2]
        if end != known_end and start not in (name, known.partition(".")[0]):
            return whole
        return max(whole, 0.95 * SequenceMatcher(None, end, known_end).ratio())

    found = {known: likeness(known) for known in names}
    best = max(found.values(), default=0.0)
    near = [known for known, like in found.items() if like >= max(LIKE, best - 0.03)]
    return f"; did you mean {' or '.join(near[:3])}?" if near else ""
