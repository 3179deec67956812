"""The tracks of a media file: which one is coded, and what there is besides."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from av.container import InputContainer
from av.stream import Disposition, Stream

from imfcodec.errors import InputError, UsageError
from imfcodec.video.audio import channels_of

_SECOND_CHOICE = Disposition.comment | Disposition.visual_impaired | Disposition.hearing_impaired | Disposition.dub


@dataclass(frozen=True)
class Track:
    """One track of a media file as its container describes it.

    Attributes:
        kind: "video", "audio", "subtitle", "data", "attachment" or "cover" (a still picture beside the video).
        number: place among the tracks of its kind, from 1.
        index: place among all tracks, from 0.
        codec: FFmpeg codec name, "unknown" where FFmpeg does not know it.
        default: whether the file marks it as the one to play.
        language: as the file has it, e.g. "eng"; None where it does not say.
        width, height, frame_rate: of video.
        sample_rate, channels: of sound.
        duration_seconds: None where the container does not say.
    """

    kind: str
    number: int
    index: int
    codec: str
    default: bool
    language: str | None
    width: int | None = None
    height: int | None = None
    frame_rate: Fraction | None = None
    sample_rate: int | None = None
    channels: int | None = None
    duration_seconds: float | None = None

    def __str__(self) -> str:
        detail = [self.codec, self.language, f"{self.width}x{self.height}" if self.width else None]
        return f"{self.kind} {self.number} ({', '.join(filter(None, detail))})"


def list_tracks(container: InputContainer) -> list[Track]:
    """Describe all tracks of an opened file, in file order."""
    counts: dict[str, int] = {}
    tracks = []
    for stream in container.streams:
        kind = _kind(stream)
        counts[kind] = counts.get(kind, 0) + 1
        tracks.append(_describe(container, stream, kind, counts[kind]))
    return tracks


def choose_video(tracks: Sequence[Track], wanted: int | None, name: str) -> Track:
    """Return the video track to code: the wanted one, else the default one, else the largest.

    Raises:
        InputError: there is no video track.
        UsageError: there is no track of that number.
    """
    videos = [track for track in tracks if track.kind == "video"]
    if not videos:
        raise InputError(f"{name}: holds no video track; give a file with pictures")
    if wanted is not None:
        return _numbered(videos, wanted, name)
    return max(videos, key=lambda track: (track.default, (track.width or 0) * (track.height or 0), -track.number))


def choose_audio(container: InputContainer, tracks: Sequence[Track], wanted: str | None, name: str) -> Track | None:
    """Return the sound track to code: the wanted one by number or language, else the default one, else the first.

    Raises:
        UsageError: there is no track of that number or language.
    """
    sounds = [track for track in tracks if track.kind == "audio"]
    if wanted is None:
        return max(sounds, key=lambda track: _audio_rank(container, track), default=None)
    if wanted.isascii() and wanted.isdecimal():
        return _numbered(sounds, int(wanted), name)
    spoken = [track for track in sounds if (track.language or "").lower().startswith(wanted.lower())]
    if not spoken:
        raise UsageError(f"{name}: no sound track is in {wanted!r}; there is {_listed(sounds)}")
    return max(spoken, key=lambda track: _audio_rank(container, track))


def left_out(tracks: Sequence[Track], used: Sequence[Track | None]) -> list[Track]:
    """Tracks that are not used; sound counts as used where none is wanted by choice of the caller."""
    indexes = {track.index for track in used if track}
    return [track for track in tracks if track.index not in indexes]


def _audio_rank(container: InputContainer, track: Track) -> tuple[bool, bool, int]:
    return (track.default, not container.streams[track.index].disposition & _SECOND_CHOICE, -track.number)


def _numbered(tracks: Sequence[Track], number: int, name: str) -> Track:
    for track in tracks:
        if track.number == number:
            return track
    raise UsageError(f"{name}: there is no track {number}, numbers start at 1; there is {_listed(tracks)}")


def _listed(tracks: Sequence[Track]) -> str:
    return ", ".join(map(str, tracks)) or "none"


def _kind(stream: Stream) -> str:
    if stream.type == "video" and stream.disposition & Disposition.attached_pic:
        return "cover"
    return stream.type or "data"


def _describe(container: InputContainer, stream: Stream, kind: str, number: int) -> Track:
    context: Any = getattr(stream, "codec_context", None)
    video = context is not None and stream.type == "video"
    audio = context is not None and stream.type == "audio"
    base, duration = stream.time_base, stream.duration
    seconds = float(duration * base) if duration and base else None
    if seconds is None and kind in ("video", "audio") and container.duration:
        seconds = container.duration / 1_000_000
    return Track(
        kind=kind,
        number=number,
        index=stream.index,
        codec=context.codec.canonical_name if context is not None and context.codec else "unknown",
        default=bool(stream.disposition & Disposition.default),
        language=stream.language if stream.language not in (None, "", "und") else None,
        width=context.width if video else None,
        height=context.height if video else None,
        frame_rate=_rate(stream) if kind == "video" else None,
        sample_rate=context.sample_rate if audio else None,
        channels=channels_of(context) if audio else None,
        duration_seconds=seconds,
    )


def _rate(stream: Stream) -> Fraction | None:
    rate = stream.guessed_rate or stream.average_rate  # type: ignore[attr-defined]
    return Fraction(rate.numerator, rate.denominator) if rate else None
