"""An encode that goes on where an earlier run was ended: what it has written of whole groups is taken over."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from imfcodec import __version__
from imfcodec.api.model import Model
from imfcodec.api.options import EncodeOptions
from imfcodec.api.places import Location
from imfcodec.bitstream.container import StreamReader
from imfcodec.bitstream.header import StreamHeader
from imfcodec.bitstream.packet import AudioBatch, LostPacket, PacketKind, VideoPacket
from imfcodec.errors import CorruptStreamError, LimitError, UsageError


def resume_tag(source: Location, target: Location, options: EncodeOptions, model: Model) -> str:
    """What tells one encode from another: everything that its bytes follow from.

    Raises:
        UsageError: the source or the target is no file.
    """
    if not isinstance(source, str | Path) or not isinstance(target, str | Path) or not os.path.isfile(source):
        raise UsageError("--resume needs a file to read and one to write; a pipe cannot be gone on with")
    for mask in options.masks:
        if not os.path.isfile(mask):
            raise UsageError(f"--resume needs files to read, which --roi {mask} is not")
    known = [(state.st_size, state.st_mtime_ns) for state in map(os.stat, (source, *options.masks))]
    device = (model.load().model_id, model.device, model.dtype)
    facts = (__version__, os.path.realpath(source), known, device)
    return hashlib.sha256(repr((facts, replace(options, verify=False))).encode()).hexdigest()[:12]


def whole_groups(file: BinaryIO, header: StreamHeader) -> Iterator[VideoPacket | AudioBatch]:
    """The packets of a stream that was not finished, before its last key frame; none if its header is another one."""
    end = _last_key(file, header)
    file.seek(0)
    for record in StreamReader(file).records() if end else ():
        if record.offset >= end:
            return
        if record.item is not None and not isinstance(record.item, LostPacket):
            yield record.item


def _last_key(file: BinaryIO, header: StreamHeader) -> int:
    """Where the last key frame begins as far as the stream is whole; 0 if there is none that fits."""
    place = 0
    with suppress(CorruptStreamError, LimitError):
        reader = StreamReader(file)
        if reader.header == header:
            for record in reader.records():
                place = record.offset if record.kind is PacketKind.KEY else place
    return place
