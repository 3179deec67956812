"""Sound tracks: carried from file to file as they are, or re-encoded with Opus."""

import io
import itertools
import struct
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction

import av
import numpy as np
import numpy.typing as npt
from av.audio.codeccontext import AudioCodecContext
from av.audio.stream import AudioStream
from av.container import OutputContainer

from imfcodec.errors import InputError, UsageError
from imfcodec.frames import AudioPacket, AudioTrack

OPUS_RATE = 48_000
_MIN_OPUS_BITRATE = 6_000
_MAX_OPUS_BITRATE = 512_000
_OPUS_BITRATE_A_CHANNEL = 32_000
_MAX_SAMPLE_RATE = 768_000
_MAX_PTS = 1 << 62
# Sound may be off its stamps by a hundredth of a second: more than rounding, less than anyone notices.
_SYNC_PARTS = 100
_MAX_GAP_SECONDS = 24 * 3600
_LAYOUTS = {1: "mono", 2: "stereo", 3: "2.1", 4: "quad", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}

# FFmpeg codec name -> Matroska codec id and bits per sample (PCM only).
_MATROSKA_CODECS = {
    "aac": ("A_AAC", 0),
    "ac3": ("A_AC3", 0),
    "eac3": ("A_EAC3", 0),
    "flac": ("A_FLAC", 0),
    "mp2": ("A_MPEG/L2", 0),
    "mp3": ("A_MPEG/L3", 0),
    "opus": ("A_OPUS", 0),
    "vorbis": ("A_VORBIS", 0),
    "pcm_u8": ("A_PCM/INT/LIT", 8),
    "pcm_s16le": ("A_PCM/INT/LIT", 16),
    "pcm_s24le": ("A_PCM/INT/LIT", 24),
    "pcm_s32le": ("A_PCM/INT/LIT", 32),
    "pcm_s16be": ("A_PCM/INT/BIG", 16),
    "pcm_s24be": ("A_PCM/INT/BIG", 24),
    "pcm_f32le": ("A_PCM/FLOAT/IEEE", 32),
}


# What MP4 cannot hold of these.
_MIN_MP3_RATE_IN_MP4 = 16_000
_HELD_BY = {".mp4": set(_MATROSKA_CODECS) - {"pcm_u8"}}


def usual_opus_bitrate(channels: int) -> int:
    """Bits per second at which sound is coded that nobody gave a rate for: good for speech, fair for music."""
    return _OPUS_BITRATE_A_CHANNEL * min(channels, 2)


def can_copy(track: AudioTrack, suffix: str | None = None) -> bool:
    """Whether packets of a track can go from file to file as they are; with `suffix`, into a file of that kind too."""
    if track.codec not in _MATROSKA_CODECS or not is_sane(track):
        return False
    if suffix == ".mp4" and track.codec == "mp3" and track.sample_rate < _MIN_MP3_RATE_IN_MP4:
        return False
    return suffix is None or track.codec in _HELD_BY.get(suffix.lower(), _MATROSKA_CODECS)


def is_sane(track: AudioTrack) -> bool:
    """Whether the description of a track can be meant."""
    return track.channels in _LAYOUTS and 0 < track.sample_rate <= _MAX_SAMPLE_RATE


def require_copyable(track: AudioTrack) -> None:
    """Raise UsageError unless packets of this track can be copied from file to file unchanged."""
    if not can_copy(track):
        raise UsageError(f"sound in '{track.codec}' cannot be copied; re-encode it with Opus or leave it out")


def add_copied_stream(container: OutputContainer, track: AudioTrack) -> AudioStream:
    """Add a stream for packets of `track` to an output file and return it.

    Raises:
        UsageError: the codec cannot be copied at all, or not into this kind of file.
        InputError: the description of the track makes no sense.
    """
    if not is_sane(track):
        raise InputError(f"the sound track claims {track.channels} channels at {track.sample_rate} Hz; leave it out")
    require_copyable(track)
    # PyAV can make a stream for ready packets only after the model of a stream it has read.
    with av.open(io.BytesIO(_matroska_header(track)), format="matroska") as template:
        try:
            stream = container.add_stream_from_template(template.streams.audio[0], opaque=True)
        except ValueError as error:
            raise UsageError(
                f"{container.format.name} cannot hold sound in '{track.codec}'; write .mkv, or re-encode it with Opus"
            ) from error
    stream.time_base = track.time_base
    # Matroska tells how many channels there are, not which; MP4 wants to know.
    if stream.codec_context.layout.name.endswith("channels"):
        stream.codec_context.layout = _LAYOUTS[track.channels]
    return stream


def channels_of(context: AudioCodecContext) -> int:
    """Number of channels of a decoder that is not open yet, which from now on come in FFmpeg's own order.

    PyAV frees the memory of any other order (QuickTime has some) once for every look at it, and with every frame.
    """
    layout = context.layout
    channels = layout.nb_channels
    if "(" in layout.name:
        context.layout = _LAYOUTS.get(channels, f"{channels} channels")
    return channels


def track_of(stream: AudioStream, name: str) -> AudioTrack:
    """Describe the audio stream of an opened input file; `name` names the file in errors.

    Raises:
        InputError: FFmpeg does not know the codec, or the file is damaged.
    """
    context = stream.codec_context
    if context is None or context.sample_rate <= 0:
        raise InputError(f"{name}: the sound is of an unknown kind; leave it out (audio none)")
    base = stream.time_base or Fraction(1, context.sample_rate)
    return AudioTrack(
        codec=context.codec.canonical_name,
        sample_rate=context.sample_rate,
        channels=channels_of(context),
        time_base=Fraction(base.numerator, base.denominator),
        extradata=bytes(context.extradata or b""),
    )


def read_packets(
    packets: Iterable[av.Packet], time_base: Fraction, offset: Fraction = Fraction(0)
) -> Iterator[AudioPacket]:
    """Turn the packets of a sound track, in file order, into packets with strictly rising stamps.

    Args:
        packets: of one track; those without a stamp follow on the one before, those that an edit list skips are
            left out.
        time_base: seconds per tick of the packets.
        offset: seconds to take off every stamp.
    """
    shift, end = round(offset / time_base), None
    last: int | None = None
    for packet in _played(packets):
        stamp = packet.pts if packet.pts is not None else packet.dts
        pts = (end or 0) if stamp is None else stamp - shift
        last = pts if last is None else max(pts, last + 1)
        end = last + (packet.duration or 0)
        yield AudioPacket(last, packet.duration or 0, bytes(packet))


def _played(packets: Iterable[av.Packet]) -> Iterator[av.Packet]:
    """Yield the packets that an edit list does not skip, after the last one before them: decoders need it to start."""
    before, started = None, False
    for packet in packets:
        if packet.is_discard:
            before = None if started else packet
            continue
        if before is not None:
            yield before
        before, started = None, True
        yield packet


class SoundDecoder:
    """Decodes packet by packet; a damaged packet costs its own sound, not what follows.

    Args:
        context: decoder of the track.
        base: seconds per tick of the packets.
        shift: ticks to take off every stamp.
    Attributes:
        lost: packets that could not be decoded, so far.
    """

    def __init__(self, context: AudioCodecContext, base: Fraction, shift: int = 0) -> None:
        channels_of(context)
        self._context, self._base, self._shift = context, base, shift
        self._count, self._reason = 0, ""
        self.lost = 0

    def __call__(self, packet: av.Packet | None) -> list[av.AudioFrame]:
        """Return the sound that is ready after the next packet, or after the last one with None.

        Raises:
            InputError: the end is reached, and nothing could be decoded.
        """
        try:
            frames = self._context.decode(packet)
        except av.error.FFmpegError as error:
            frames, self._reason = [], str(error.strerror)
            self.lost += 1
        self._count += len(frames)
        if packet is None and self._reason and not self._count:
            raise InputError(
                f"the {self._context.name} sound cannot be decoded: {self._reason}; leave it out (audio none)"
            )
        for frame in frames:
            frame.time_base = self._base
            frame.pts = None if frame.pts is None else frame.pts - self._shift
        return frames


class OpusTranscoder:
    """Re-encodes a track that can be copied with Opus, packet by packet; see `OpusEncoder`.

    Attributes:
        track: the new track.
    Raises:
        UsageError: the rate is out of range, or there is no decoder for the source codec.
    """

    def __init__(self, track: AudioTrack, bitrate_bps: int) -> None:
        self._time_base = track.time_base
        self._decode = SoundDecoder(_open_decoder(track), track.time_base)
        self._encoder = OpusEncoder(track.channels, bitrate_bps)
        self.track = self._encoder.track

    def __call__(self, packet: AudioPacket) -> Iterator[AudioPacket]:
        """Yield the packets that are ready after the next one of the source."""
        for frame in self._decode(make_packet(packet, self._time_base)):
            yield from self._encoder.encode(frame)

    def finish(self) -> Iterator[AudioPacket]:
        """Yield the last packets; InputError if nothing could be decoded."""
        for frame in self._decode(None):
            yield from self._encoder.encode(frame)
        yield from self._encoder.finish()


def transcode_opus(
    packets: Iterable[AudioPacket], track: AudioTrack, bitrate_bps: int
) -> tuple[AudioTrack, Iterator[AudioPacket]]:
    """Re-encode all packets of a track that can be copied, lazily; errors as for `OpusTranscoder`."""
    transcoder = OpusTranscoder(track, bitrate_bps)
    pieces = itertools.chain.from_iterable(map(transcoder, packets))
    return transcoder.track, itertools.chain(pieces, _later(transcoder.finish))


def _later(make: Callable[[], Iterator[AudioPacket]]) -> Iterator[AudioPacket]:
    yield from make()


class OpusEncoder:
    """Encodes sound with Opus at 48 kHz, mono or stereo, in sync with the stamps it comes with.

    Gaps become silence, and what overlaps is dropped, so that the sound never is more than 10 ms off its stamps.

    Args:
        channels: of the source; more than two are mixed down to stereo.
        bitrate_bps: target rate in bits per second, 6000..512000.
    Attributes:
        track: the new track, time base 1/48000. Its first stamp is earlier than the source's by the encoder's
            look-ahead, so it may be negative.
    Raises:
        UsageError: the rate is out of range.
    """

    def __init__(self, channels: int, bitrate_bps: int) -> None:
        if not _MIN_OPUS_BITRATE <= bitrate_bps <= _MAX_OPUS_BITRATE:
            raise UsageError(
                f"Opus bit rate {bitrate_bps} is outside {_MIN_OPUS_BITRATE}..{_MAX_OPUS_BITRATE} bit/s; "
                "choose one inside"
            )
        self._channels = 1 if channels == 1 else 2
        self._encoder = _open_opus(self._channels, bitrate_bps)
        extradata = bytes(self._encoder.extradata or b"")
        self.track = AudioTrack("opus", OPUS_RATE, self._channels, Fraction(1, OPUS_RATE), extradata)
        self._resampler: av.AudioResampler | None = None
        self._shape: tuple[str, str, int] | None = None
        self._end: int | None = None  # samples at 48 kHz up to here are encoded

    def encode_all(self, frames: Iterable[av.AudioFrame]) -> Iterator[AudioPacket]:
        """Encode decoded sound from first to last, lazily."""
        for frame in frames:
            yield from self.encode(frame)
        yield from self.finish()

    def encode(self, frame: av.AudioFrame) -> Iterator[AudioPacket]:
        """Encode the next decoded sound and yield the packets that are ready."""
        shape = (frame.format.name, frame.layout.name, frame.sample_rate)
        if shape != self._shape:  # the sound may change in the middle, as broadcasts do
            yield from self._flush_resampler()
            self._shape = shape
            self._resampler = av.AudioResampler(format="flt", layout=_LAYOUTS[self._channels], rate=OPUS_RATE)
        yield from self._resample(frame)

    def finish(self) -> Iterator[AudioPacket]:
        """Yield the last packets."""
        yield from self._flush_resampler()
        if self._end is not None:
            yield from map(_to_audio_packet, self._encoder.encode(None))

    def _flush_resampler(self) -> Iterator[AudioPacket]:
        if self._resampler is not None:
            yield from self._resample(None)

    def _resample(self, frame: av.AudioFrame | None) -> Iterator[AudioPacket]:
        assert self._resampler is not None
        try:
            pieces = self._resampler.resample(frame)
        except (ValueError, av.error.FFmpegError) as error:
            raise InputError(f"the sound cannot be resampled: {error}; leave it out (audio none)") from error
        for piece in pieces:
            yield from self._place(piece)

    def _place(self, piece: av.AudioFrame) -> Iterator[AudioPacket]:
        """Encode samples at their place: after silence if there is a gap, without those that overlap."""
        samples = piece.to_ndarray().astype(np.float32, copy=False).reshape(-1, self._channels)
        start = self._end or 0
        if piece.pts is not None and piece.time_base:
            start = round(piece.pts * piece.time_base * OPUS_RATE)
        self._end = start if self._end is None else self._end
        gap = _gap(start - self._end, OPUS_RATE)
        while gap > 0:
            silence = np.zeros((min(gap, OPUS_RATE), self._channels), np.float32)
            gap -= len(silence)
            yield from self._emit(silence)
        yield from self._emit(samples[-gap:])

    def _emit(self, samples: npt.NDArray[np.float32]) -> Iterator[AudioPacket]:
        if not len(samples):
            return
        assert self._end is not None
        piece = np.ascontiguousarray(samples, np.float32).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(piece, "flt", _LAYOUTS[self._channels])
        frame.sample_rate, frame.pts, frame.time_base = OPUS_RATE, self._end, Fraction(1, OPUS_RATE)
        self._end += len(samples)
        yield from map(_to_audio_packet, self._encoder.encode(frame))


class PcmFiller:
    """Makes uncompressed sound contiguous: files that count samples (MP4) know no gaps, and would lose the sync.

    Packets of any other kind of sound pass as they are.
    """

    def __init__(self, track: AudioTrack) -> None:
        self._track = track
        self._sample_bytes = track.channels * _MATROSKA_CODECS.get(track.codec, ("", 0))[1] // 8
        self._quiet = b"\x80" if track.codec == "pcm_u8" else b"\0"
        self._end: int | None = None  # samples up to here are written

    def __call__(self, packet: AudioPacket) -> Iterator[AudioPacket]:
        """Yield the packet, after silence if there is a gap before it, and without what overlaps."""
        if not self._sample_bytes:
            yield packet
            return
        rate = self._track.sample_rate
        start = round(packet.pts * self._track.time_base * rate)
        self._end = start if self._end is None else self._end
        gap = _gap(start - self._end, rate)
        while gap > 0:
            part = min(gap, rate)
            gap -= part
            yield self._next(self._quiet * (part * self._sample_bytes))
        data = packet.data[-gap * self._sample_bytes :]
        if data:
            yield self._next(data)

    def _next(self, data: bytes) -> AudioPacket:
        assert self._end is not None
        ticks = 1 / (self._track.time_base * self._track.sample_rate)
        start, self._end = self._end, self._end + len(data) // self._sample_bytes
        return AudioPacket(round(start * ticks), round(self._end * ticks) - round(start * ticks), data)


def _gap(samples: int, rate: int) -> int:
    """Samples by which sound is off its stamps if that can be heard or seen; 0 for rounding, and for damaged stamps."""
    return samples if rate // _SYNC_PARTS < abs(samples) < _MAX_GAP_SECONDS * rate else 0


def _open_decoder(track: AudioTrack) -> AudioCodecContext:
    try:
        decoder = av.CodecContext.create(track.codec, "r")
    except ValueError as error:
        raise UsageError(f"no decoder for sound in '{track.codec}'; leave it out (audio none)") from error
    if not isinstance(decoder, AudioCodecContext):
        raise InputError(f"'{track.codec}' is not a sound codec; the track is damaged")
    decoder.sample_rate = track.sample_rate
    decoder.layout = _LAYOUTS.get(track.channels, "stereo")
    if track.extradata:
        decoder.extradata = track.extradata
    return decoder


def _open_opus(channels: int, bitrate_bps: int) -> AudioCodecContext:
    encoder = av.CodecContext.create("libopus", "w")
    encoder.sample_rate = OPUS_RATE
    encoder.layout = _LAYOUTS[channels]
    encoder.format = "flt"
    encoder.time_base = Fraction(1, OPUS_RATE)
    encoder.bit_rate = bitrate_bps
    encoder.open()
    return encoder


def make_packet(source: AudioPacket, time_base: Fraction) -> av.Packet:
    """Return a PyAV packet with the bytes and times of `source`, in ticks of `time_base`.

    Raises:
        InputError: a time stamp does not fit into 64 bits.
    """
    if max(abs(source.pts), abs(source.duration)) > _MAX_PTS:
        raise InputError(f"sound packet at tick {source.pts}: the time stamp is damaged; leave the sound out")
    packet = av.Packet(source.data)
    packet.pts = packet.dts = source.pts
    packet.duration = source.duration
    packet.time_base = time_base
    packet.is_keyframe = True
    return packet


def _to_audio_packet(packet: av.Packet) -> AudioPacket:
    return AudioPacket(packet.pts or 0, packet.duration or 0, bytes(packet))


def _matroska_header(track: AudioTrack) -> bytes:
    """Return a Matroska file that announces `track` and holds no packets."""
    codec, bits = _MATROSKA_CODECS[track.codec]
    sound = _element("b5", struct.pack(">d", track.sample_rate)) + _element("9f", bytes([track.channels]))
    if bits:
        sound += _element("6264", bytes([bits]))
    entry = _element("d7", b"\x01") + _element("73c5", b"\x01") + _element("83", b"\x02")  # number, UID, type: audio
    entry += _element("86", codec.encode()) + _element("56aa", _codec_delay_ns(track).to_bytes(8, "big"))
    if track.extradata:
        # Matroska stores the FLAC stream information with its file and block headers in front.
        prefix = b"fLaC\x80\x00\x00\x22" if track.codec == "flac" else b""
        entry += _element("63a2", prefix + track.extradata)
    entry += _element("e1", sound)
    info = _element("1549a966", _element("2ad7b1", (1_000_000).to_bytes(4, "big")))
    tracks = _element("1654ae6b", _element("ae", entry))
    empty_cluster = _element("1f43b675", _element("e7", b"\x00"))
    return _element("1a45dfa3", _element("4282", b"matroska")) + _element("18538067", info + tracks + empty_cluster)


def _codec_delay_ns(track: AudioTrack) -> int:
    """Return the Opus pre-skip (OpusHead, bytes 10 and 11) in nanoseconds; other codecs have none."""
    if track.codec != "opus" or len(track.extradata) < 12:
        return 0
    return int.from_bytes(track.extradata[10:12], "little") * 1_000_000_000 // OPUS_RATE


def _element(element_id: str, payload: bytes) -> bytes:
    """Return one EBML element with its length written in eight bytes."""
    return bytes.fromhex(element_id) + struct.pack(">Q", (1 << 56) | len(payload)) + payload
