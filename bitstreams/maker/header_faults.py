"""Headers that a reader must refuse, each for one reason, and streams that end too early or too late."""

from functools import partial

from imfcodec.bitstream.bits import encode_varint as varint
from imfcodec.bitstream.bits import encode_zigzag as zigzag
from maker.changes import FRAMES, Edit, above, cut, cut_off, flipped, refuse, start
from maker.pieces import Pieces

# A body of its own stands in for that of a stream of 64x64 pixels and 25 frames a second.

MODEL_ID = slice(3, 11)  # in that body


def head(flags: int | bytes = 0, size: tuple[int, int] = (64, 64), shown: bytes = b"", timing: int = 0x21,
         rest: bytes = b"") -> Edit:  # fmt: skip
    """Replace the header's fields; `rest` follows the timing."""

    def edit(pieces: Pieces) -> None:
        start = varint(flags) if isinstance(flags, int) else flags
        model_id = pieces.head.body[MODEL_ID]
        pieces.head.body = start + varint(size[0]) + varint(size[1]) + shown + model_id + bytes((timing,)) + rest

    return edit


def ratio(num: int, den: int) -> bytes:
    return varint(num) + varint(den)


def track(codec: bytes = b"opus", rate: int = 48000, channels: int = 1, base: bytes = b"\0",
          extradata: bytes = b"\0") -> Edit:  # fmt: skip
    rest = varint(len(codec)) + codec + varint(rate) + bytes((channels,)) + base + extradata
    return head(flags=2, rest=rest)


wrong = partial(refuse, base="valid/key")
large = partial(above, base="valid/key")
CANONICAL = "canonical"

wrong("flags-unused", "Flags above 511.", head(flags=512), "flags")
wrong("flags-long", "A varint that is not in its shortest form.", head(flags=b"\x80\x00"), "shortest")
wrong("flags-ten-bytes", "A varint of ten bytes.", head(flags=b"\x80" * 9 + b"\1"), "longer than")
large("width-15", "A side below 16.", head(size=(15, 64)), "width")
large("height-4097", "A side above 4096.", head(size=(64, 4097)), "height")
large("sides-2305", "The shorter side above 2304.", head(size=(2305, 2306)), "frame size")
large("shown-0", "A shown side of 0.", head(256, shown=ratio(0, 64)), "shown_width")
large("shown-16385", "A shown side above 16384.", head(256, shown=ratio(64, 16385)), "shown_height")
wrong("shown-as-coded", "The shown size given though it is the coded one.", head(256, shown=ratio(64, 64)), CANONICAL)
wrong("rate-has-code", "A frame rate spelled out that has a code.", head(timing=0x01, rest=ratio(25, 1)), CANONICAL)
wrong("rate-not-lowest", "A frame rate not in lowest terms.", head(timing=0x01, rest=ratio(14, 6)), CANONICAL)
wrong("rate-0", "A frame rate of 0.", head(timing=0x01, rest=ratio(0, 1)), "frame_rate_num")
wrong("rate-2-31", "A term of 2^31.", head(timing=0x01, rest=ratio(1 << 31, 1)), "frame_rate_num")
wrong("rate-over-0", "A denominator of 0.", head(timing=0x01, rest=ratio(1, 0)), "frame_rate_den")
wrong("base-has-code", "A time base spelled out that has a code.", head(timing=0x20, rest=ratio(1, 1000)), CANONICAL)
wrong("base-not-lowest", "A time base not in lowest terms.", head(timing=0x20, rest=ratio(2, 70)), CANONICAL)
wrong("base-is-a-frame", "A time base of one frame spelled out.", head(timing=0x20, rest=ratio(1, 25)), CANONICAL)
wrong(
    "base-is-a-frame-by-code",
    "A time base of one frame by another code than 1.",
    head(timing=0x02, rest=ratio(600, 1)),
    CANONICAL,
)
wrong(
    "base-coarse",
    "Less than a tick from frame to frame at constant rate.",
    head(timing=0x20, rest=ratio(1, 1)),
    "coarser",
)
wrong("aspect-1", "The default sample aspect given.", head(4, rest=ratio(1, 1)), CANONICAL)
wrong("aspect-not-lowest", "A sample aspect not in lowest terms.", head(4, rest=ratio(2, 4)), CANONICAL)
wrong("colour-default", "The default colour given.", head(8, rest=b"\0\2\2\2"), CANONICAL)
wrong("colour-has-code", "A colour spelled out that has a code.", head(8, rest=b"\0\1\1\1"), CANONICAL)
wrong("colour-9", "A colour code that there is not.", head(8, rest=b"\x09"), "unknown code")
wrong("colour-137", "A colour field above 136.", head(8, rest=b"\x89"), "colour")
wrong("first-pts-0", "The default first time stamp given.", head(64, rest=b"\0"), CANONICAL)
wrong("first-pts-limit", "A first time stamp beyond 2^60.", head(64, rest=zigzag((1 << 60) + 1)), "first_pts")
wrong("ticks-half", "Half a tick from frame to frame at constant rate.", head(128, rest=ratio(1, 2)), "coarser")
wrong("ticks-not-lowest", "Ticks from frame to frame not in lowest terms.", head(128, rest=ratio(4, 2)), CANONICAL)
wrong("codec-empty", "An audio codec without a name.", track(codec=b""), "audio_codec")
wrong("codec-33", "A codec name of 33 bytes.", track(codec=b"c" * 33), "audio_codec")
wrong("codec-control", "A codec name that is not printable ASCII.", track(codec=b"op\n"), "printable")
wrong("audio-rate-0", "A sample rate of 0.", track(rate=0), "audio_sample_rate")
wrong("audio-rate-limit", "A sample rate above a million.", track(rate=1000001), "audio_sample_rate")
wrong("audio-channels-0", "No channels.", track(channels=0), "audio_channels")
wrong("audio-base-is-a-sample", "An audio time base of one sample spelled out.", track(base=ratio(1, 48000)), CANONICAL)
wrong("audio-base-not-lowest", "An audio time base not in lowest terms.", track(base=ratio(2, 4)), CANONICAL)
large("extradata-limit", "More than 65536 bytes of extradata.", track(extradata=varint(65537)), "audio_extradata")
wrong("head-long", "A body that goes on after its last field.", head(rest=b"\0"), "too many")
wrong("head-short", "A body that ends before its last field.", head(128, rest=b"\1"), "runs past")


refuse("magic", "Another magic.", start(b"IMG"), "not an .imf")
refuse("version-1", "Version 1.", start(b"IMF\1"), "release 0.2")
refuse("version-3", "A version that does not exist.", start(b"IMF\3"), "version 3")
limit = start(b"IMF\2" + varint(65793))
above("head-limit", "A header that claims 65793 bytes.", limit, "header of 65793")
refuse("head-checksum", "A header whose checksum does not match.", flipped(7), "checksum")
cut_off("head-cut", "A stream that ends within its header.", cut(9))
cut_off("cut", "A stream that ends within a packet.", cut(99))
cut_off("no-end", "A stream without END packet.", cut(-15))
cut_off("nothing", "No bytes at all.", lambda pieces: b"")
after = "bytes follow"
refuse("after-end", "A byte after the END packet.", lambda pieces: pieces.sealed() + b"\0", after, frames=FRAMES)
refuse(
    "doubled-end",
    "Two END packets.",
    lambda pieces: pieces.sealed() + pieces.packets[-1].sealed(),
    after,
    frames=FRAMES,
)
