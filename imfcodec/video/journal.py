"""What one pass over the pictures of a source finds out: their times, what is damaged, what else they carry."""

from dataclasses import dataclass, field
from fractions import Fraction

import av

from imfcodec.video.adts import mpeg_codec, read_adts_head
from imfcodec.video.timeline import Stamps

# A damaged file that ends so much earlier than it claims lacks its end.
_MISSING_SECONDS = 1
# Fewer packets that say they are in another codec are damaged.
_MIN_PACKETS = 4
_HDR_SIDE_DATA = {
    "MASTERING_DISPLAY_METADATA",
    "CONTENT_LIGHT_LEVEL",
    "DYNAMIC_HDR_PLUS",
    "DYNAMIC_HDR_VIVID",
    "AMBIENT_VIEWING_ENVIRONMENT",
    "DOVI_METADATA",
    "DOVI_RPU_BUFFER",
}
_CAPTION_SIDE_DATA = {"A53_CC"}


@dataclass
class Journal:
    """What one pass over the pictures of a source found out.

    Attributes:
        stamps: times of the pictures.
        damaged: stamps of pictures that are not as they were coded, undecodable ones included.
        discontinuities: how often the clock of the source jumped.
        interlaced: pictures marked as interlaced.
        sizes: sizes of the pictures in pixels, in order of appearance.
        aspects: shapes of a pixel that the pictures say they have, width / height, in order of appearance.
        extras: further things that pictures carry: "transparency", "HDR metadata", "captions".
        damaged_sound: damaged packets of the sound track.
        sound_kinds: what the packets of AAC say of themselves, where each of them does.
        sound_codecs: how many packets of the sound track say which codec they are in, where the first one tells the
            track's own; in order of appearance.
        complaints: what FFmpeg found wrong with the container itself.
        sound_start: stamp of the first packet of the sound track, in seconds; None before there is one.
        cut_off: whether the source ends too early.
    """

    stamps: Stamps = field(default_factory=Stamps)
    damaged: set[int] = field(default_factory=set)
    discontinuities: int = 0
    interlaced: int = 0
    sizes: dict[tuple[int, int], None] = field(default_factory=dict)
    aspects: dict[Fraction, None] = field(default_factory=dict)
    extras: dict[str, None] = field(default_factory=dict)
    damaged_sound: int = 0
    sound_kinds: set[bytes] = field(default_factory=set)
    sound_codecs: dict[str, int] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)
    sound_start: Fraction | None = None
    cut_off: bool = False

    def note_picture(self, picture: av.VideoFrame, time: int | None) -> None:
        """Note a decoded picture that is shown at `time`, in ticks of the source."""
        self.stamps.add(time, picture.duration or 0)
        if picture.is_corrupt:
            self._note_damage(time)
        self.interlaced += picture.interlaced_frame
        self.sizes[picture.width, picture.height] = None
        if "transparency" not in self.extras and _is_transparent(picture):
            self.extras["transparency"] = None
        kinds = _side_data_kinds(picture)
        if kinds & _HDR_SIDE_DATA:
            self.extras["HDR metadata"] = None
        if kinds & _CAPTION_SIDE_DATA:
            self.extras["captions"] = None

    def note_damage(self, packet: av.Packet) -> None:
        """Note a damaged packet of the video track."""
        self._note_damage(packet.pts if packet.pts is not None else packet.dts)

    def note_loss(self, time: int | None) -> None:
        """Note a picture that cannot be decoded."""
        self._note_damage(time)
        self.stamps.lost.append((time, len(self.stamps.times)))

    def note_sound(self, packet: av.Packet) -> None:
        """Note a packet of the sound track."""
        time = packet.pts if packet.pts is not None else packet.dts
        self.damaged_sound += packet.is_corrupt
        head = read_adts_head(bytes(packet)) if packet.stream.codec_context.name == "aac" else None
        if head:
            self.sound_kinds.add(head.config)
        self._note_codec(packet)
        if self.sound_start is None and time is not None and packet.time_base:
            self.sound_start = time * packet.time_base

    def _note_codec(self, packet: av.Packet) -> None:
        codec = None if packet.is_corrupt else mpeg_codec(bytes(packet))
        if codec and (self.sound_codecs or codec == packet.stream.codec_context.codec.canonical_name):
            self.sound_codecs[codec] = self.sound_codecs.get(codec, 0) + 1

    @property
    def foreign_sound(self) -> list[str]:
        """Codecs of sound that come after the track's own, where its decoder and other files cannot follow."""
        return [codec for codec, count in list(self.sound_codecs.items())[1:] if count >= _MIN_PACKETS]

    def compare_end(self, claimed: Fraction | None, base: Fraction) -> None:
        """Compare the end of the pictures with what the file claims: if it is sound, the last one stays until then."""
        last = self.stamps.times[-1] if self.stamps.times else None
        if claimed is None or last is None or self.discontinuities:  # claims are made on the clock that jumped
            return
        missing = claimed - last * base
        if not self.complaints and not self.cut_off:
            self.stamps.durations[-1] = max(self.stamps.durations[-1], round(missing / base))
        elif missing > _MISSING_SECONDS:
            self.cut_off = True

    def _note_damage(self, time: int | None) -> None:
        # Pictures without a stamp count by their place, beyond all stamps.
        self.damaged.add((1 << 64) + len(self.stamps.times) + len(self.damaged) if time is None else time)


def _side_data_kinds(picture: av.VideoFrame) -> set[str]:
    """What a picture carries besides its pixels; nothing where PyAV does not know one of the kinds (Exif)."""
    try:
        return {data.type.name for data in picture.side_data}  # type: ignore[attr-defined]
    except ValueError:
        return set()


def _is_transparent(picture: av.VideoFrame) -> bool:
    if not picture.format.has_palette and not any(component.is_alpha for component in picture.format.components):
        return False
    return bool(picture.reformat(format="rgba").to_ndarray()[..., 3].min() < 255)
