"""Streams inside files that others play: `mux` puts one into an .mp4 or .mkv beside its sound, `demux` takes it out."""

import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, cast

from imfcodec.bitstream.container import StreamReader, verify_structure
from imfcodec.bitstream.packet import AudioBatch
from imfcodec.errors import UsageError
from imfcodec.files import OutputFile, check_distinct, named_errors, open_input
from imfcodec.frames import AudioPacket, AudioTrack
from imfcodec.video.audio import OpusTranscoder, can_copy, usual_opus_bitrate
from imfcodec.video.carried import FORMATS, attach, find, read_span, write_sound


def mux(source: str | Path, target: str | Path, *, overwrite: bool = False) -> None:
    """Write a file that plays the sound of a stream anywhere, and carries the stream itself.

    Args:
        source: an .imf file with sound.
        target: an .mp4 or .mkv file; sound that it cannot hold is coded with Opus.
        overwrite: replace what is there.
    Raises:
        UsageError: the stream has no sound, or the target is of another kind, a pipe, or exists.
        CorruptStreamError: the stream is damaged.
        OutputError: the target cannot be written.
    """
    suffix = Path(target).suffix.lower()
    if suffix not in FORMATS:
        raise UsageError(f"{target}: streams are carried by .mp4 and .mkv files; name one")
    check_distinct([source], [target])
    with open_input(source) as file:
        summary = verify_structure(file)
        audio = summary.header.audio
        if audio is None:
            raise UsageError(f"{source}: has no sound for other players to play; give the .imf file itself")
        file.seek(0)
        output = OutputFile(target, overwrite=overwrite)
        try:
            if not output.file.seekable():
                raise UsageError(f"{target} is a pipe or device; name a file")
            track, packets = _sound(audio, _audio_packets(file), suffix)
            write_sound(output.path, suffix, track, packets, name=str(target))
            file.seek(0)
            with named_errors(str(target)), open(output.path, "r+b") as sink:
                attach(cast(BinaryIO, sink), suffix, file, summary.size_bytes, name=Path(source).name)
            output.commit()
        finally:
            output.discard()


def demux(source: str | Path, target: str | Path | BinaryIO, *, overwrite: bool = False) -> None:
    """Write the stream that a file carries, byte by byte as it went in.

    Args:
        source: a file that `mux` has made, or one made of that by a program that keeps what it does not know.
        target: path or binary stream.
        overwrite: replace an existing target.
    Raises:
        InputError: the file carries no stream.
        CorruptStreamError: the stream in it is damaged.
        UsageError: the target exists.
        OutputError: the target cannot be written.
    """
    check_distinct([source], [target])
    with open_input(source) as file:
        place = find(file, str(source))
        verify_structure(read_span(file, place, str(source)))
        content = read_span(file, place, str(source))
        if not isinstance(target, str | Path):
            with named_errors(str(getattr(target, "name", "stream"))):
                shutil.copyfileobj(content, target)
                target.flush()
            return
        output = OutputFile(target, overwrite=overwrite)
        try:
            shutil.copyfileobj(content, output.file)
            output.commit()
        finally:
            output.discard()


def _audio_packets(file: BinaryIO) -> Iterator[AudioPacket]:
    for item in StreamReader(file):
        if isinstance(item, AudioBatch):
            yield from item.packets


def _sound(track: AudioTrack, packets: Iterable[AudioPacket], suffix: str) -> tuple[AudioTrack, Iterable[AudioPacket]]:
    """The track and its packets as the target can hold them."""
    if can_copy(track, suffix):
        return track, packets
    transcoder = OpusTranscoder(track, usual_opus_bitrate(track.channels))

    def coded() -> Iterator[AudioPacket]:
        for packet in packets:
            yield from transcoder(packet)
        yield from transcoder.finish()

    return transcoder.track, coded()
