"""Sound on its way into a stream and out of it: copied, coded with Opus, or left out."""

import errno
from collections.abc import Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from imfcodec.api.options import EncodeOptions
from imfcodec.api.places import Location
from imfcodec.bitstream.container import StreamWriter
from imfcodec.errors import ImfError, InputError
from imfcodec.frames import AudioPacket, AudioTrack, VideoFormat
from imfcodec.video.audio import OpusEncoder, OpusTranscoder, can_copy, is_sane, usual_opus_bitrate
from imfcodec.video.coding import VideoCoding
from imfcodec.video.editing import EditedClip
from imfcodec.video.extras import Extras
from imfcodec.video.notes import Notes
from imfcodec.video.reader import ClipReader
from imfcodec.video.writer import SOUND_SUFFIXES, ClipWriter, open_writer

AUDIO_BATCH = 64  # sound packets in one packet of the stream, at most


class Sound:
    """The sound of a source, handed out in step with the picture.

    Args:
        track: what the packets are of; None is silence.
    """

    def __init__(self, track: AudioTrack | None = None, packets: Iterable[AudioPacket] = ()) -> None:
        self.track = track
        self._packets = iter(packets)
        self._time_base = track.time_base if track else Fraction(1)
        self._next = next(self._packets, None)

    def until(self, seconds: float) -> Iterator[list[AudioPacket]]:
        """Yield batches of the packets that start before `seconds`."""
        batch: list[AudioPacket] = []
        while self._next is not None and self._next.pts * self._time_base < seconds:
            batch.append(self._next)
            self._next = next(self._packets, None)
            if len(batch) == AUDIO_BATCH:
                yield batch
                batch = []
        if batch:
            yield batch

    def write(self, writer: StreamWriter, until: float) -> None:
        """Write the packets that start before `until` seconds."""
        for batch in self.until(until):
            writer.write_audio(batch)


def open_sound(clip: ClipReader | EditedClip, options: EncodeOptions, tell: Notes) -> Sound:
    """The sound of a clip as the options want it."""
    if clip.audio is None:
        return Sound()
    if options.audio == "copy" and can_copy(clip.audio) and not clip.sound_changes:
        return Sound(clip.audio, clip.audio_packets())
    asked = options.opus_bitrate
    bitrate = usual_opus_bitrate(clip.audio.channels) if asked is None else asked
    if options.audio == "copy":
        reason = "changes midway" if clip.sound_changes else "cannot be copied"
        tell([_opus_line(clip.audio, reason, bitrate) + " (--audio opus:RATE for another rate)"])
    opus = OpusEncoder(clip.audio.channels, bitrate)
    return Sound(opus.track, opus.encode_all(clip.decoded_audio()))


class DecodedSound:
    """The sound of a stream on its way to a target: as it is, coded with Opus where need be, or left out.

    Attributes:
        lost_packets: packets that could not be written, where damage is to be covered.
    """

    def __init__(self, target: Location, track: AudioTrack | None, conceal: bool, tell: Notes) -> None:
        self._target, self._track, self._conceal, self._tell = target, track, conceal, tell
        self._transcoder: OpusTranscoder | None = None
        self._writer: ClipWriter | None = None
        self._start: float | Fraction | None = None
        self._end: float | Fraction | None = None
        self.lost_packets = 0

    def open(
        self, video: VideoFormat, overwrite: bool, coding: VideoCoding | None, extras: Extras | None
    ) -> ClipWriter:
        """Open the target for pictures of this format, and for the sound if it can hold any; see `open_writer`."""
        choices: dict[str, Any] = {"overwrite": overwrite, "coding": coding, "extras": extras}
        try:
            self._writer = open_writer(self._target, video, audio=self._prepare(), **choices)
        except InputError as error:
            self._leave_out(error)
            self._writer = open_writer(self._target, video, **choices)
        return self._writer

    def _prepare(self) -> AudioTrack | None:
        """The track to write; opens the transcoder if the target cannot hold the stream's own."""
        suffix = Path(self._target).suffix.lower() if isinstance(self._target, str | Path) else ""
        if self._track is None or suffix not in SOUND_SUFFIXES:
            return None
        if can_copy(self._track, suffix) or not is_sane(self._track):
            return self._track
        try:
            self._transcoder = _transcoder(self._track, suffix, self._tell)
        except ImfError as error:
            self._leave_out(error)
            return None
        return self._transcoder.track

    def _leave_out(self, error: ImfError) -> None:
        if not self._conceal:
            raise error
        self._track = None
        self._tell([f"the sound is left out: {error}"])

    def cut(self, start: float | Fraction | None, end: float | Fraction | None) -> None:
        """From now on, take only what begins at `start` seconds or later and before `end`; `start` becomes zero."""
        self._start, self._end = start, end

    def take(self, packet: AudioPacket) -> None:
        """Write one packet of the stream."""
        if self._track and self._writer and self._writer.holds_audio and self._is_within(packet):
            if self._start:
                packet = replace(packet, pts=packet.pts - round(self._start / self._track.time_base))
            self._write(self._transcoder(packet) if self._transcoder else (packet,))

    def _is_within(self, packet: AudioPacket) -> bool:
        assert self._track is not None
        seconds = packet.pts * self._track.time_base
        return (self._start is None or seconds >= self._start) and (self._end is None or seconds < self._end)

    def finish(self) -> None:
        """Write what is left."""
        if self._transcoder:
            self._write(self._transcoder.finish())

    def _write(self, packets: Iterable[AudioPacket]) -> None:
        assert self._writer is not None
        try:
            for packet in packets:
                self._writer.write_audio(packet)
        except ImfError as error:
            full = getattr(error.__cause__, "errno", None) == errno.ENOSPC
            if full or not self._conceal:
                raise
            self.lost_packets += 1


def _transcoder(track: AudioTrack, suffix: str, tell: Notes) -> OpusTranscoder:
    bitrate = usual_opus_bitrate(track.channels)
    tell([_opus_line(track, f"does not go into {suffix}", bitrate) + "; .mkv keeps it"])
    return OpusTranscoder(track, bitrate)


def _opus_line(track: AudioTrack, reason: str, bitrate: int) -> str:
    return f"sound in '{track.codec}' {reason}: coded with Opus at {bitrate // 1000} kbit/s"
