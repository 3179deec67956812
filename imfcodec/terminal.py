"""Text of files and names on its way to a terminal, which takes some characters for commands."""

import re

# Controls (ESC among them), and what breaks lines or turns the direction of what follows.
_COMMANDS = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    r"""The text with its control characters as Python writes them, e.g. \x1b."""
    return _COMMANDS.sub(lambda match: ascii(match[0])[1:-1], text)
