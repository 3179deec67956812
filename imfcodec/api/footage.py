"""The frames of a source as they go into an encoder: read, and edited as the options say."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from imfcodec.api.options import EncodeOptions
from imfcodec.api.places import Location
from imfcodec.limits import Limits
from imfcodec.video.editing import EditedClip
from imfcodec.video.pipes import read_once, until_end
from imfcodec.video.reader import ClipReader, open_clip


@contextmanager
def open_footage(
    source: Location, options: EncodeOptions, limits: Limits, tell: Callable[[Sequence[str]], None] | None = None
) -> Iterator[tuple[ClipReader, EditedClip]]:
    """Open a source; yields it as it is, and with the edits made.

    Args:
        tell: takes what there is to say about it, before edits can fail.
    Raises:
        Errors of `open_clip` and `EditedClip`.
    """
    with (
        read_once(source, is_raw=options.raw is not None) as place,
        open_clip(
            place,
            raw=options.raw,
            audio=options.audio != "none",
            options=options.source_options,
            limits=limits,
        ) as clip,
    ):
        if tell:
            tell(clip.notes)
        yield clip, EditedClip(clip, lambda: until_end(clip.frames(), place), options.edits)
