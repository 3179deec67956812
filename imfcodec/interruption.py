"""Signals that end a process, where an exception would be lost: in what PyAV calls back while FFmpeg reads a pipe."""

from types import FrameType

_CALLBACKS = {"imfcodec.video.pipes", "imfcodec.video.truncation"}
_kept: list[BaseException] = []


def end_with(error: BaseException, frame: FrameType | None) -> None:
    """For a signal handler: raise `error`, or keep it for `kept` where nobody would hear of it.

    Args:
        error: SystemExit or KeyboardInterrupt.
        frame: where the signal came; a `read` that is called back is safe while its local `guarded` is set.
    """
    while frame:
        is_callback = frame.f_code.co_name == "read" and frame.f_globals.get("__name__") in _CALLBACKS
        if is_callback and not frame.f_locals.get("guarded"):
            _kept.append(error)
            return
        if is_callback:
            break
        frame = frame.f_back
    raise error


def kept() -> BaseException | None:
    """What was not raised, if anything."""
    return _kept[0] if _kept else None
