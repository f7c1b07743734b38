"""Show a picture in a terminal that can: kitty's and iTerm2's protocols, which others share."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping

PROTOCOLS = ("kitty", "iterm")

_KITTY_CHUNK = 4096
"""Characters that kitty's protocol takes at a time."""

_OF_ITERM = ("iTerm.app", "WezTerm", "vscode", "mintty")
"""Values of TERM_PROGRAM of terminals that take iTerm2's protocol."""


def protocol_of(environ: Mapping[str, str]) -> str | None:
    """Give the protocol by which the terminal shows pictures; None if it is not known to do so.

    environ: the environment variables, by which terminals name themselves.
    """
    term, program = environ.get("TERM", ""), environ.get("TERM_PROGRAM", "")
    if "TMUX" in environ or term.startswith("screen"):
        return None  # a multiplexer between, which swallows pictures
    if term in ("xterm-kitty", "xterm-ghostty") or program == "ghostty":
        return "kitty"
    return "iterm" if program in _OF_ITERM else None


def inline(png: bytes, protocol: str) -> str:
    """Give what to print to show a PNG in a terminal.

    protocol: one of ``PROTOCOLS``.
    """
    content = base64.standard_b64encode(png).decode()
    if protocol == "iterm":
        size = len(png)
        return f"\033]1337;File=inline=1;size={size};width=100%;preserveAspectRatio=1:{content}\a\n"
    return "".join(_kitty(content)) + "\n"


def _kitty(content: str) -> Iterator[str]:
    """Yield the commands of kitty's protocol: transmit a PNG (f=100) in parts and show it (a=T)."""
    for start in range(0, len(content), _KITTY_CHUNK):
        first = "a=T,f=100," if start == 0 else ""
        more = int(start + _KITTY_CHUNK < len(content))
        yield f"\033_G{first}m={more};{content[start : start + _KITTY_CHUNK]}\033\\"
