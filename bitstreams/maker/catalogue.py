"""The streams that every decoder must read: valid ones as encoders write them, uncommon ones at the edges."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

from imfcodec.bitstream.header import COLOURS, FRAME_RATES, TIME_BASES
from imfcodec.bitstream.packet import Quantisers
from imfcodec.frames import AudioTrack, Colour
from maker.studio import USUAL, Draw, Studio

Script = Callable[[Studio], int | None]
"""Writes the packets of a stream; gives the last duration, None for one frame."""


@dataclass(frozen=True)
class Entry:
    """A stream to make.

    Attributes:
        name: of its file, without suffix.
        purpose: why it exists.
        script: its packets.
        settings: of its header, and how symbols are drawn; see `Studio`.
        tolerance: levels by which pixels may differ in some precision, where that is not what holds for all streams.
    """

    name: str
    purpose: str
    script: Script
    settings: dict[str, Any] = field(default_factory=dict)
    tolerance: dict[str, int] = field(default_factory=dict)


ENTRIES: list[Entry] = []

OPUS = AudioTrack("opus", 48000, 2, Fraction(1, 48000), b"OpusHead\1\2")


def stream(
    name: str, purpose: str, tolerance: dict[str, int] | None = None, **settings: Any
) -> Callable[[Script], Script]:
    """Enter the function below as a stream's script."""

    def enter(script: Script) -> Script:
        ENTRIES.append(Entry(name, purpose, script, settings, tolerance or {}))
        return script

    return enter


def by_code(number: int) -> dict[str, Any]:
    """Frame rate, time base and colour that have a code; numbers in a row go through all of them."""
    return {
        "frame_rate": FRAME_RATES[number % len(FRAME_RATES)],
        "time_base": TIME_BASES[number % len(TIME_BASES)],
        "colour": Colour(*COLOURS[number % len(COLOURS)]),
    }


def short(studio: Studio) -> None:
    """A key frame and a chunk of three frames, split once."""
    studio.key()
    studio.chunk(3, "1")


# Sizes

WHOLE = [(64, 64), (128, 64), (64, 192), (320, 192)]
CROPPED = [(63, 64), (65, 64), (64, 127), (129, 66), (100, 75), (67, 61)]
for number, size in enumerate(WHOLE + CROPPED):
    purpose = "Both sides are multiples of 64: nothing is cropped."
    if size in CROPPED:
        purpose = "Coded larger and cropped; chroma of odd sides is rounded up."
    stream(f"valid/size-{size[0]}x{size[1]}", purpose, size=size, **by_code(number))(short)


@stream("uncommon/size-16x16", "The smallest frame.", size=(16, 16))
@stream("uncommon/size-17x4096", "The tallest frame.", size=(17, 4096))
@stream("uncommon/size-4096x16", "The widest frame.", size=(4096, 16))
def key_and_token(studio: Studio) -> None:
    studio.key()
    studio.tail(1)


@stream(
    "uncommon/groups-of-one",
    "Frames of 2^18 pixels and more: golden frames of a depth go one by one.",
    size=(2100, 128),
)
def groups_of_one(studio: Studio) -> None:
    studio.key(qindex=60)
    studio.chunk(4, "111", golden=60)


@stream(
    "uncommon/groups-of-two",
    "Frames of 2^17 pixels and more: golden frames of a depth go two by two.",
    size=(1400, 128),
)
def groups_of_two(studio: Studio) -> None:
    studio.key(qindex=60)
    studio.chunk(7, "111111", golden=60)


# Chunks that look ahead


@stream("valid/key", "A key frame alone.")
def key(studio: Studio) -> None:
    studio.key()


for number, count in enumerate((1, 2, 3, 4, 5, 8, 9, 16, 17, 32), start=len(WHOLE + CROPPED)):
    purpose = f"A chunk of {count} frames without golden frames between: token frames by halving."

    @stream(f"valid/chunk-{count}", purpose, **by_code(number))
    def whole(studio: Studio, count: int = count) -> None:
        studio.key()
        studio.chunk(count)


for count in (2, 3, 5, 8):

    @stream(f"valid/chunk-{count}-golden", f"A chunk of {count} frames split as far as it goes.")
    def golden(studio: Studio, count: int = count) -> None:
        studio.key()
        studio.chunk(count, "1" * (count - 1))


@stream("valid/splits-left", "Intervals at the left are split, those at the right are not.")
def left(studio: Studio) -> None:
    studio.key()
    studio.chunk(12, "11010")


@stream("valid/splits-right", "Intervals at the right are split, those at the left are not.")
def right(studio: Studio) -> None:
    studio.key()
    studio.chunk(13, "10101")


@stream("valid/splits-deep", "A chunk of 32 frames with golden frames at four depths and token frames at every level.")
def deep(studio: Studio) -> None:
    studio.key()
    studio.chunk(32, "111100110")


@stream("valid/chunks", "Chunks after one another: the anchor's symbols count as zeros in each.")
def chunks(studio: Studio) -> None:
    studio.key()
    studio.chunk(4, "1")
    studio.chunk(4, "110")
    studio.chunk(1)


@stream("valid/tail", "A group that ends with token frames from the past.")
def tail(studio: Studio) -> None:
    studio.key()
    studio.chunk(4)
    studio.tail(2)


@stream("valid/two-groups", "Two groups and an index.")
def two_groups(studio: Studio) -> None:
    studio.key()
    studio.chunk(3)
    studio.key(qindex=120, usual=replace(USUAL, golden=100))
    studio.chunk(2, "1")


# Low delay


@stream("valid/low-delay", "Token frames on their own, each from the past, and golden frames between.")
def low_delay(studio: Studio) -> None:
    studio.key()
    for _ in range(2):
        studio.token()
        studio.token()
        studio.golden()
    studio.token()


@stream("valid/low-delay-golden", "Golden frames only: one packet a frame.")
def low_delay_golden(studio: Studio) -> None:
    studio.key()
    studio.golden()
    studio.golden()


@stream("valid/low-delay-groups", "A new group in the middle of token frames from the past.")
def low_delay_groups(studio: Studio) -> None:
    studio.key()
    studio.token()
    studio.key()
    studio.token()
    studio.golden()


@stream(
    "uncommon/tail-32",
    "The longest chunk of token frames, twice: positions from the anchor pass 63, where the span ends.",
)
def long_tail(studio: Studio) -> None:
    studio.key()
    studio.tail(32)
    studio.tail(32)
    studio.token()
    studio.golden()


@stream("uncommon/mixed", "All kinds of packets after one another; a chunk of one golden frame follows token frames.")
def mixed(studio: Studio) -> None:
    studio.key()
    studio.token()
    studio.tail(2)
    studio.token()
    studio.chunk(1)
    studio.golden()
    studio.chunk(4, "1")
    studio.token()
    studio.golden()


@stream("uncommon/keys", "Key frames only; the index lists all but the first.")
def keys(studio: Studio) -> None:
    for qindex in (0, 100, 255):
        studio.key(qindex=qindex)


# Quantisers and symbols


def extremes(studio: Studio) -> None:
    """Every kind of frame, at the usual quantisers."""
    studio.chunk(4, "110")
    studio.tail(1)
    studio.token()
    studio.golden()


for qindex in (0, 255):

    @stream(f"uncommon/qindex-{qindex}", f"All quantisers at {qindex}.")
    def at_the_end(studio: Studio, qindex: int = qindex) -> None:
        studio.key(qindex=qindex, usual=Quantisers(qindex, 0, qindex))
        extremes(studio)


@stream("uncommon/deeper", "What is taken off for each depth goes beyond 0, where it ends.")
def deeper(studio: Studio) -> None:
    studio.key(usual=replace(USUAL, golden=140, deeper=100))
    studio.chunk(8, "1111111")
    studio.chunk(4, "111", deeper=255)


@stream("valid/own-quantisers", "Packets with quantisers of their own; the usual ones are in force again after them.")
def own(studio: Studio) -> None:
    studio.key()
    studio.chunk(4, "1", golden=180)
    studio.chunk(4, "1", deeper=3, token=60)
    studio.chunk(2)
    studio.tail(1, token=10)
    studio.tail(1)
    studio.token(token=200)
    studio.token()
    studio.golden(golden=9)
    studio.golden()


@stream(
    "uncommon/escapes",
    "Symbols that no table has, some as large as there are: motion that 16 bits do not hold.",
    tolerance={"bfloat16": 255},
    draw=Draw(far=True),
)
def escapes(studio: Studio) -> None:
    studio.key()
    studio.chunk(4, "1")
    studio.token()


@stream(
    "uncommon/nothing",
    "All symbols in the middle of their tables: payloads of next to no bytes.",
    draw=Draw(calm=65535),
)
def nothing(studio: Studio) -> None:
    studio.key()
    extremes(studio)


# Header fields

LARGEST = (1 << 31) - 1
LIMITS = {
    "frame_rate": Fraction(LARGEST, LARGEST - 1),
    "time_base": Fraction(1, LARGEST),
    "sample_aspect": Fraction(LARGEST),
    "rotation": 180,
    "colour": Colour(255, 255, 255, True),
    "shown_size": (1, 16384),
    "audio": AudioTrack("~" * 32, 1_000_000, 255, Fraction(LARGEST), bytes(300)),
}
ODD_RATE = {"frame_rate": Fraction(7, 3), "time_base": Fraction(3, 70)}
EVERYTHING = {
    "rotation": 270,
    "sample_aspect": Fraction(2),
    "colour": Colour(1, 1, 1),
    "first_pts": 5,
    "ticks_per_frame": Fraction(2),
    "shown_size": (64, 63),
    "audio": OPUS,
    **ODD_RATE,
}
MILLISECONDS = {"time_base": Fraction(1, 1000)}
RARE: dict[str, tuple[str, dict[str, Any]]] = {
    "rate-explicit": ("Frame rate and time base spelled out.", ODD_RATE),
    "limits": ("Fields at their limits.", LIMITS),
    "ticks": ("Ticks from frame to frame given as a fraction.", {"ticks_per_frame": Fraction(100, 3), **MILLISECONDS}),
    "ticks-default": ("Ticks from frame to frame given as they are anyway.", {"ticks_per_frame": Fraction(1)}),
    "first-pts": ("Time stamps that start below 0.", {"first_pts": -1001}),
    "first-pts-limit": ("The smallest time stamp that there is.", {"first_pts": -(1 << 60)}),
    "shown": ("Shown at another size than coded.", {"shown_size": (16384, 1)}),
    "aspect": ("Pixels that are not square.", {"sample_aspect": Fraction(40, 33)}),
    "rotation-90": ("Turned by a quarter for display.", {"rotation": 90}),
    "rotation-270": ("Turned by three quarters, with every other field of constant rate.", EVERYTHING),
    "colour-code": ("Colour by its code, full range.", {"colour": Colour(5, 6, 6, True)}),
    "colour-explicit": ("Colour spelled out.", {"colour": Colour(12, 17, 255)}),
    "colour-full-range": ("Full range and nothing else known: spelled out.", {"colour": Colour(2, 2, 2, True)}),
}
for name, (purpose, settings) in RARE.items():
    stream(f"uncommon/{name}", purpose, **settings)(key_and_token)


# Time


@stream("valid/last-duration", "The last frame is shown longer than the others.", time_base=Fraction(1, 1000))
def last_duration(studio: Studio) -> int:
    key_and_token(studio)
    return 5000


@stream("valid/variable-rate", "Time stamps in the packets; a key frame's counts from the first.",
        variable_rate=True, time_base=Fraction(1, 1000), first_pts=7)  # fmt: skip
def variable_rate(studio: Studio) -> int:
    studio.key(steps=[40])
    studio.chunk(4, "1", steps=[40, 33, 900, 1])
    studio.tail(2, steps=[40])
    studio.key(steps=[7])
    studio.token(steps=[39])
    studio.golden(steps=[41])
    return 1


@stream("uncommon/variable-rate-limits", "From the smallest time stamp to the largest; ticks longer than a frame.",
        variable_rate=True, time_base=Fraction(2), first_pts=-(1 << 60))  # fmt: skip
def variable_rate_limits(studio: Studio) -> int:
    studio.key()
    studio.tail(2, steps=[1 << 60, 1 << 60])
    return 1 << 60


# Sound, and streams without this or that


@stream("valid/sound", "Sound packets between those of video, of equal and of unequal sizes.", audio=OPUS)
def sound(studio: Studio) -> None:
    studio.sound((-312, 960, b"abc"), (648, 960, b"def"))
    studio.key()
    studio.sound((1608, 960, b"a"), (2568, 960, b"bcd"))
    studio.tail(1)


@stream("uncommon/sound-gaps", "Sound with gaps, overlaps and durations of its own, in ticks that are no samples.",
        audio=AudioTrack("pcm_s16le", 8000, 255, Fraction(1, 90000), b""))  # fmt: skip
def sound_gaps(studio: Studio) -> None:
    studio.key()
    studio.sound((10, 5, b"a"), (12, 0, b"b"), (-(1 << 59), 1 << 40, b"cc"))


@stream("uncommon/sound-1024", "As many sound packets as one packet may hold, and one more.", audio=OPUS)
def sound_1024(studio: Studio) -> None:
    studio.key()
    studio.sound(*[(960 * n, 960, bytes((n % 256,))) for n in range(1025)])


@stream("uncommon/sound-alone", "Sound and not a single frame.", audio=OPUS)
def sound_alone(studio: Studio) -> None:
    studio.sound((0, 960, b"x"))


@stream("uncommon/empty", "No packet but END.")
def empty(studio: Studio) -> None:
    del studio
