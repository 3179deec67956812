"""How far a job has come, and the ways to show it: a terminal line, plain lines or JSON. Standard library only."""

import json
import os
import textwrap
import time
from dataclasses import dataclass
from typing import TextIO

from imfcodec.terminal import printable

INTERVAL_SECONDS = {"bar": 0.1, "lines": 5.0, "json": 0.5}
_USUAL_COLUMNS = 80


def terminal_width(stream: TextIO | None) -> int | None:
    """Columns of the terminal a stream goes to, None where it goes elsewhere."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or _USUAL_COLUMNS if stream else None
    except (OSError, ValueError):
        return None


def fit_lines(text: str, stream: TextIO | None) -> str:
    """The text without control characters, in lines that fit where the stream goes to a terminal."""
    text = "\n".join(map(printable, text.split("\n")))
    width = terminal_width(stream)
    if width is None or "\n" in text:
        return text
    return "\n".join(textwrap.wrap(text, width - 1, break_long_words=False, break_on_hyphens=False))


@dataclass(frozen=True)
class Progress:
    """State of a running encode or decode.

    Attributes:
        frames: frames finished so far.
        share: part of the job that is done, 0..1; None where the source does not say how long it is.
        elapsed_seconds: wall time since the start.
        byte_count: bytes of .imf written or read so far.
        duration_seconds: playing time of the finished frames.
    """

    frames: int
    share: float | None
    elapsed_seconds: float
    byte_count: int
    duration_seconds: float

    @property
    def fps(self) -> float:
        """Frames per second of wall time."""
        return self.frames / self.elapsed_seconds if self.elapsed_seconds else 0.0

    @property
    def kbps(self) -> float:
        """Mean rate so far in kilobits per second of playing time."""
        return self.byte_count * 8 / 1000 / self.duration_seconds if self.duration_seconds else 0.0

    @property
    def eta_seconds(self) -> float | None:
        """Wall time still to go at the speed so far, None where it cannot be told."""
        return self.elapsed_seconds * (1 - self.share) / self.share if self.share else None


class ProgressReporter:
    """Writes `Progress` to a text stream, not more often than its style's interval; the last state always.

    A terminal gets as much as fits its width. Where nobody listens any more, nothing is written any more.

    Args:
        style: "bar" (one line that is rewritten), "lines", "json" (one object a line) or "none".
        verb: what is being done, e.g. "encode".
        stream: where to write; never standard output, which is for data. None is a closed one.
    """

    def __init__(self, style: str, verb: str, stream: TextIO | None) -> None:
        self._style, self._verb, self._stream = style, verb, stream
        self._last_time = float("-inf") if style == "bar" else time.monotonic()
        self._unwritten: Progress | None = None
        self._line_open = False

    def __call__(self, progress: Progress) -> None:
        """Note the new state and show it if it is time to."""
        self._unwritten = progress
        now = time.monotonic()
        if self._style != "none" and now - self._last_time >= INTERVAL_SECONDS[self._style]:
            self._last_time = now
            self._write(progress)

    def say(self, line: str) -> None:
        """Write a line for the user, whatever the style; as an object among objects."""
        self._end_line()
        text = " ".join(line.split())
        is_json = self._style == "json"
        note = json.dumps({"event": "note", "text": text}) if is_json else fit_lines(f"imfcodec: {text}", self._stream)
        self._put(note + "\n")

    def close(self) -> None:
        """Show the last state if it has not been shown, and end the terminal line."""
        if self._unwritten and self._style in ("bar", "json"):
            self._write(self._unwritten)
        self._end_line()

    def _end_line(self) -> None:
        if self._line_open:
            self._line_open = False
            self._put("\n")

    def _write(self, progress: Progress) -> None:
        self._unwritten = None
        if self._style == "json":
            self._put(json.dumps(_as_dict(self._verb, progress)) + "\n")
            return
        line = _as_line(self._verb, progress, terminal_width(self._stream))
        self._line_open = self._style == "bar"
        self._put(f"\r\033[K{line}" if self._line_open else f"{line}\n")

    def _put(self, text: str) -> None:
        try:
            if self._stream:
                self._stream.write(text)
                self._stream.flush()
        except OSError:
            self._stream = None


def _as_dict(verb: str, progress: Progress) -> dict[str, str | int | float | None]:
    return {
        "event": verb,
        "frames": progress.frames,
        "percent": None if progress.share is None else round(100 * progress.share, 1),
        "fps": round(progress.fps, 2),
        "kbps": round(progress.kbps, 3),
        "bytes": progress.byte_count,
        "eta_seconds": None if progress.eta_seconds is None else round(progress.eta_seconds, 1),
    }


def _as_line(verb: str, progress: Progress, width: int | None) -> str:
    """One line, made of the parts that fit `width` columns."""
    line, *parts = _parts(verb, progress)
    for part in parts:
        if width is None or len(line) + len(part) + 2 < width:
            line += f"  {part}"
    return line


def _parts(verb: str, progress: Progress) -> list[str]:
    share = "" if progress.share is None else f" {100 * progress.share:3.0f}%"
    parts = [f"{verb}{share}", f"{progress.frames} frames", f"{progress.fps:.1f} fps", f"{progress.kbps:.2f} kbps"]
    if progress.eta_seconds is not None:
        minutes, seconds = divmod(round(progress.eta_seconds), 60)
        parts.append(f"ETA {minutes}:{seconds:02d}")
    return parts
