"""Pictures in terminals: which can, and what is printed."""

import base64
import re

import pytest

from cam_repro.figures.terminal import inline, protocol_of


@pytest.mark.parametrize(
    ("environ", "protocol"),
    [
        ({"TERM": "xterm-256color"}, None),
        ({}, None),
        ({"TERM": "xterm-kitty"}, "kitty"),
        ({"TERM": "xterm-ghostty"}, "kitty"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "iTerm.app"}, "iterm"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "WezTerm"}, "iterm"),
        ({"TERM": "xterm-kitty", "TMUX": "/tmp/tmux"}, None),
        ({"TERM": "screen", "TERM_PROGRAM": "iTerm.app"}, None),
    ],
)
def test_terminals_name_themselves(environ, protocol):
    assert protocol_of(environ) == protocol


def test_iterm_takes_the_picture_in_one_piece():
    assert inline(b"PNG", "iterm") == (
        "\033]1337;File=inline=1;size=3;width=100%;preserveAspectRatio=1:UE5H\a\n"
    )


def test_kitty_takes_it_in_parts_of_4096_characters():
    png = bytes(range(256)) * 24  # 8,192 characters
    printed = inline(png, "kitty")
    parts = re.findall(r"\033_G([^;]*);([^\033]*)\033\\", printed)
    assert [head for head, _ in parts] == ["a=T,f=100,m=1", "m=0"]
    assert base64.b64decode("".join(part for _, part in parts)) == png
    assert "".join(f"\033_G{head};{part}\033\\" for head, part in parts) + "\n" == printed
