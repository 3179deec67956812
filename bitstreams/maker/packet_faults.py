"""Packets that a reader must refuse, each for one reason; lost, doubled and misplaced ones too."""

from functools import partial

from imfcodec.bitstream.bits import encode_varint as varint
from imfcodec.bitstream.bits import encode_zigzag as zigzag
from maker.changes import (
    AUDIO,
    END,
    FRAMES,
    INDEX,
    KEY,
    KEY_ALONE,
    TWO_GROUPS,
    VARIABLE,
    Edit,
    above,
    accept,
    end,
    flipped,
    insert,
    order,
    packet,
    refuse,
)
from maker.pieces import Part, Pieces

for byte in (0x00, 0x02, 0x21, 0x3F, 0xC0, 0xFF):
    refuse(
        f"first-byte-{byte:02x}", "A first byte that no packet has.", packet(1, first=bytes((byte,))), "unknown packet"
    )
above(
    "packet-limit",
    "A packet that claims 67108865 bytes.",
    lambda pieces: pieces.head.sealed() + KEY + varint(67108865),
    "67108865",
)
refuse(
    "packet-length-long",
    "A length that is not in its shortest form.",
    lambda pieces: pieces.head.sealed() + KEY + b"\x85\x00" + bytes(7),
    "shortest",
)
refuse("checksum", "A packet whose checksum does not match.", flipped(40), "checksum", frames=FRAMES)
refuse("no-key", "A video packet before the first KEY.", order(1, 2, 3, 4, 5), "frame 1 follows 0", frames=FRAMES)
refuse(
    "lost-chunk",
    "A packet is missing: the next KEY counts frames that are not there.",
    order(0, 2, 3, 4, 5),
    "key frame number",
    frames=FRAMES,
)
refuse(
    "lost-key",
    "A KEY is missing: the CHUNK after it has another frame number.",
    order(0, 1, 3, 4, 5),
    "frame 5 follows 4",
    frames=FRAMES,
)
refuse(
    "lost-chunk-before-chunk",
    "A packet is missing: the checksum of the next CHUNK does not hold for the frames that are there.",
    order(0, *range(2, 8)),
    "frame 5 follows 1",
    base=VARIABLE,
    frames=10,
)
refuse(
    "swapped-chunks",
    "Two CHUNKs have changed places.",
    order(0, 2, 1, *range(3, 8)),
    "frame 5 follows 1",
    base=VARIABLE,
    frames=10,
)
refuse("lost-group", "A group is missing that the index names.", order(0, 1, 4, 5), "does not agree", frames=FRAMES)
refuse("lost-last", "The last video packet is missing.", order(0, 1, 2, 4, 5), "counts 7 frames", frames=FRAMES)
refuse("doubled-key", "A KEY comes twice.", order(0, 1, 2, 2, 3, 4, 5), "key frame number", frames=FRAMES)
refuse("doubled-chunk", "A CHUNK comes twice.", order(0, 1, 1, 2, 3, 4, 5), "frame 1 follows 4", frames=FRAMES)
refuse("swapped", "A group comes after the one that follows it.", order(2, 3, 0, 1, 4, 5), "key frame number")
refuse(
    "key-number",
    "A KEY with another number than that of the frames before it.",
    packet(2, body=lambda body: body[:4] + b"\5" + body[5:]),
    "key frame number",
)
refuse("key-short", "A KEY that ends within its quantisers.", packet(0, body=lambda body: body[:3]), "runs past")


def spell_out(pieces: Pieces) -> None:
    """Give a chunk its group's usual quantisers as its own."""
    chunk = pieces.packets[1]
    chunk.start, chunk.body = bytes((chunk.start[0] + 0x20,)), pieces.packets[0].body[1:4] + chunk.body


refuse("own-is-usual", "Own quantisers that are the usual ones.", spell_out, "usual quantisers")

refuse(
    "times-equal",
    "Two frames with one time stamp.",
    packet(2, body=lambda body: zigzag(-40) + body[1:]),
    "do not increase",
    base=VARIABLE,
)
refuse(
    "times-back",
    "A key frame before the frame in front of it.",
    packet(3, body=lambda body: body[:5] + zigzag(3) + body[7:]),
    "do not increase",
    base=VARIABLE,
)
above(
    "times-limit",
    "A time stamp beyond 2^60.",
    packet(2, body=lambda body: zigzag(1 << 60) + body[1:]),
    "time stamp",
    base=VARIABLE,
)


# Sound


def sound(body: bytes) -> Edit:
    """One AUDIO packet before everything else, in a stream with sound."""
    return insert(0, Part(AUDIO, body))


one = b"\0\1" + zigzag(0) + varint(960)  # regular, one packet, its gap and duration
wrong = partial(refuse, base="valid/sound")
large = partial(above, base="valid/sound")
wrong("sound-flags", "Flags of an AUDIO packet that there are not.", sound(b"\4" + one[1:] + b"\1x"), "unknown flags")
large("sound-count-0", "An AUDIO packet without sound.", sound(b"\2\0\0\0\1"), "holds 0 packets")
large(
    "sound-count-1025", "More than 1024 packets in one.", sound(b"\2" + varint(1025) + b"\0\0\1" + bytes(1025)), "1025"
)
wrong("sound-count-false", "More packets than there are bytes.", sound(b"\2" + varint(1000) + b"\0\0\1x"), "names 1000")
wrong("sound-size-0", "A sound packet of no bytes.", sound(one + b"\0"), "empty")
wrong("sound-sizes-short", "Sizes that leave bytes over.", sound(one + b"\1xx"), "names 1 bytes")
wrong("sound-sizes-long", "Sizes that go beyond the packet.", sound(one + b"\3xx"), "names 3 bytes")
large("sound-duration-limit", "A duration above 2^40.", sound(b"\0\1\0" + varint((1 << 40) + 1) + b"\1x"), "duration")
large(
    "sound-stamp-limit", "A time stamp beyond 2^60.", sound(b"\0\1" + zigzag(-(1 << 60) - 1) + b"\0\1x"), "time stamp"
)
refuse("sound-no-track", "Sound without an audio track.", sound(one + b"\1x"), "without audio track", frames=FRAMES)


# INDEX and END

refuse(
    "index-wrong",
    "An index that does not agree with the KEY packets.",
    packet(-2, body=lambda body: body[:-1] + b"\5"),
    "does not agree",
    frames=FRAMES,
)
refuse("index-early", "A packet between INDEX and END.", order(0, 1, 2, 4, 3, 5), "follows the index")
refuse("index-missing", "END names an index that is not there.", order(0, 1, 2, 3, 5), "names an index", frames=FRAMES)
refuse(
    "index-unnamed",
    "END does not name the index that is there.",
    end(lambda counts: counts[:2]),
    "names an index",
    frames=FRAMES,
)
refuse("index-0", "END names an index of 0 bytes.", end(lambda counts: counts + b"\0"), "index of 0", base=KEY_ALONE)
refuse("end-frames", "END counts another number of frames.", end(lambda counts: b"\6" + counts[1:]), "counts 6 frames")
above(
    "end-frames-limit", "END counts 2^32 frames.", end(lambda counts: varint(1 << 32) + b"\0"), "frames", base=KEY_ALONE
)
refuse(
    "end-duration-nominal",
    "A last duration of the nominal step that is not written 0.",
    end(lambda counts: b"\7\1" + counts[2:]),
    "last duration",
)
above(
    "end-duration-limit",
    "A last duration above 2^60.",
    end(lambda counts: b"\1" + varint((1 << 60) + 1)),
    "last duration",
    base=KEY_ALONE,
)
refuse(
    "end-duration-empty",
    "A last duration without a last frame.",
    end(lambda counts: b"\0\5"),
    "last duration",
    base="uncommon/empty",
)
refuse(
    "end-short",
    "END with seven bytes of hash.",
    lambda pieces: order(0)(pieces) + Part(END, pieces.packets[-1].body[:-1]).sealed(),
    "hash",
    base=KEY_ALONE,
)
refuse(
    "end-hash",
    "A hash that does not match.",
    lambda pieces: order(0)(pieces) + Part(END, b"\1\0" + bytes(8)).sealed(),
    "hash",
    base=KEY_ALONE,
    frames=1,
)


# Valid ones


def add_index(pieces: Pieces) -> None:
    """An index of no entries, and its size in END."""
    end(lambda counts: counts + b"\4")(pieces)
    insert(1, Part(INDEX, b""))(pieces)


def drop_index(pieces: Pieces) -> None:
    """No index, and no size in END."""
    end(lambda counts: counts[:2])(pieces)
    del pieces.packets[-2]


accept("index-of-one-group", "An index that names nothing, as there is one KEY packet.", add_index)
accept("no-index", "Two groups and no index.", drop_index, base=TWO_GROUPS)
