"""How long each stage of our codec takes, found by wrapping what does it; the codec itself knows nothing of this."""

import inspect
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from imfcodec.bitstream.container import StreamReader, StreamWriter
from imfcodec.entropy.coder import RangeDecoder, RangeEncoder
from imfcodec.video.reader import ClipReader
from imfcodec.video.writer import ClipWriter

_TIMED = (
    ("read", ClipReader, "frames"),
    ("read", StreamReader, "records"),
    ("entropy", RangeEncoder, "encode"),
    ("entropy", RangeEncoder, "finish"),
    ("entropy", RangeDecoder, "decode"),
    ("write", StreamWriter, "write_video"),
    ("write", StreamWriter, "close"),
    ("write", ClipWriter, "write"),
    ("write", ClipWriter, "close"),
)


@contextmanager
def timed_stages() -> Iterator[dict[str, float]]:
    """Within the block, the dictionary grows by the seconds this process spends on "read", "entropy" and "write"."""
    seconds = dict.fromkeys(("read", "entropy", "write"), 0.0)
    with ExitStack() as stack:
        for stage, owner, name in _TIMED:
            method = getattr(owner, name)
            wrap = _timed_items if inspect.isgeneratorfunction(method) else _timed_call
            setattr(owner, name, wrap(method, stage, seconds))
            stack.callback(setattr, owner, name, method)
        yield seconds


def _timed_call(method: Callable[..., Any], stage: str, seconds: dict[str, float]) -> Callable[..., Any]:
    def call(*arguments: Any, **named: Any) -> Any:
        start = time.perf_counter()
        try:
            return method(*arguments, **named)
        finally:
            seconds[stage] += time.perf_counter() - start

    return call


def _timed_items(method: Callable[..., Iterator[Any]], stage: str, seconds: dict[str, float]) -> Callable[..., Any]:
    def iterate(*arguments: Any, **named: Any) -> Iterator[Any]:
        advance = _timed_call(next, stage, seconds)
        items = method(*arguments, **named)
        while (item := advance(items, _END)) is not _END:
            yield item

    return iterate


_END = object()
