"""Sound tracks: carried from file to file as they are, or re-encoded with Opus."""

import io
import struct
from collections.abc import Iterable, Iterator
from fractions import Fraction

import av
from av.audio.codeccontext import AudioCodecContext
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer

from imfcodec.errors import InputError, UsageError
from imfcodec.frames import AudioPacket, AudioTrack

OPUS_RATE = 48_000
_MIN_OPUS_BITRATE = 6_000
_MAX_OPUS_BITRATE = 512_000
_MAX_SAMPLE_RATE = 768_000
_MAX_PTS = 1 << 62
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


def require_copyable(track: AudioTrack) -> None:
    """Raise UsageError unless packets of this track can be copied from file to file unchanged."""
    if track.codec not in _MATROSKA_CODECS:
        raise UsageError(
            f"sound in '{track.codec}' cannot be copied; re-encode it with Opus or leave it out (audio opus or none)"
        )


def add_copied_stream(container: OutputContainer, track: AudioTrack) -> AudioStream:
    """Add a stream for packets of `track` to an output file and return it.

    Raises:
        UsageError: the codec cannot be copied at all, or not into this kind of file.
        InputError: the description of the track makes no sense.
    """
    require_copyable(track)
    if track.channels not in _LAYOUTS or not 0 < track.sample_rate <= _MAX_SAMPLE_RATE:
        raise InputError(f"the sound track claims {track.channels} channels at {track.sample_rate} Hz; leave it out")
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
        channels=context.layout.nb_channels,
        time_base=Fraction(base.numerator, base.denominator),
        extradata=bytes(context.extradata or b""),
    )


def read_packets(container: InputContainer, stream: AudioStream, name: str) -> Iterator[AudioPacket]:
    """Yield the packets of one audio stream in file order; `name` names the file in errors.

    Raises:
        InputError: the file is damaged or cut off.
    """
    try:
        for packet in container.demux(stream):
            if packet.pts is None:
                continue
            yield AudioPacket(packet.pts, packet.duration or 0, bytes(packet))
    except av.error.FFmpegError as error:
        raise InputError(f"{name}: the sound cannot be read: {error.strerror}") from error


def transcode_opus(
    packets: Iterable[AudioPacket], track: AudioTrack, bitrate_bps: int
) -> tuple[AudioTrack, Iterator[AudioPacket]]:
    """Re-encode a sound track with Opus at 48 kHz, mono or stereo, in sync with the original.

    Args:
        packets: packets of `track`, read lazily.
        track: the source track; more than two channels are mixed down to stereo.
        bitrate_bps: target rate in bits per second, 6000..512000.
    Returns:
        The new track (time base 1/48000) and an iterator over its packets. The first time stamp is earlier than
        the source's by the encoder's look-ahead, so it may be negative.
    Raises:
        UsageError: the rate is out of range, or there is no decoder for the source codec.
        InputError: the sound cannot be decoded (raised while iterating).
    """
    if not _MIN_OPUS_BITRATE <= bitrate_bps <= _MAX_OPUS_BITRATE:
        raise UsageError(
            f"Opus bit rate {bitrate_bps} is outside {_MIN_OPUS_BITRATE}..{_MAX_OPUS_BITRATE} bit/s; choose one inside"
        )
    decoder = _open_decoder(track)
    encoder = _open_opus(1 if track.channels == 1 else 2, bitrate_bps)
    opus = AudioTrack(
        "opus", OPUS_RATE, 1 if track.channels == 1 else 2, Fraction(1, OPUS_RATE), bytes(encoder.extradata or b"")
    )
    return opus, _transcode(packets, track, decoder, encoder)


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


def _transcode(
    packets: Iterable[AudioPacket], track: AudioTrack, decoder: AudioCodecContext, encoder: AudioCodecContext
) -> Iterator[AudioPacket]:
    try:
        for source in packets:
            for frame in decoder.decode(make_packet(source, track.time_base)):
                frame.time_base = track.time_base
                yield from map(_to_audio_packet, encoder.encode(frame))
        for frame in decoder.decode(None):
            frame.time_base = track.time_base
            yield from map(_to_audio_packet, encoder.encode(frame))
        yield from map(_to_audio_packet, encoder.encode(None))
    except av.error.FFmpegError as error:
        raise InputError(f"the {track.codec} sound cannot be decoded: {error.strerror}; leave it out") from error


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
