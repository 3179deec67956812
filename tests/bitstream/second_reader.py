"""A second reader of the container, written from SPEC.md alone; it shares no line with imfcodec."""

import hashlib
from fractions import Fraction
from typing import Any

RATES = ["30", "25", "24", "30000/1001", "24000/1001", "60", "50", "60000/1001"]
RATES += ["15", "10", "12", "20", "48", "100", "120"]
BASES = [600, 1000, 12288, 12800, 15360, 24000, 25000, 30000, 48000, 50000, 60000, 90000, 1000000, 1000000000]
COLOURS = ((1, 1, 1), (6, 6, 6), (5, 6, 5), (5, 6, 6), (9, 16, 9), (9, 18, 9), (2, 2, 1), (2, 2, 6))


class InvalidError(Exception):
    """The stream breaks a MUST."""


def need(condition: bool, what: str) -> None:
    if not condition:
        raise InvalidError(what)


def checksum(data: bytes) -> int:
    """CRC-16, bit by bit."""
    register = 0xFFFF
    for byte in data:
        register ^= byte << 8
        for _ in range(8):
            register = register << 1 ^ (0x1021 if register & 0x8000 else 0)
            register &= 0xFFFF
    return register


class Bytes:
    """Bytes, taken from the front."""

    def __init__(self, data: bytes) -> None:
        self.data, self.place = data, 0

    def left(self) -> int:
        return len(self.data) - self.place

    def take(self, count: int) -> bytes:
        need(count <= self.left(), "too short")
        self.place += count
        return self.data[self.place - count : self.place]

    def u8(self) -> int:
        return self.take(1)[0]

    def varint(self, low: int = 0, high: int = 2**63 - 1) -> int:
        groups = [self.u8()]
        while groups[-1] & 128:
            need(len(groups) < 9, "long varint")
            groups.append(self.u8())
        need(len(groups) == 1 or groups[-1] != 0, "varint not in its shortest form")
        value = sum((group & 127) << 7 * place for place, group in enumerate(groups))
        need(low <= value <= high, "out of range")
        return value

    def zigzag(self) -> int:
        value = self.varint()
        return -(value + 1) // 2 if value % 2 else value // 2

    def fraction(self) -> Fraction:
        num, den = self.varint(1, 2**31 - 1), self.varint(1, 2**31 - 1)
        value = Fraction(num, den)
        need(value.denominator == den, "not in lowest terms")
        return value


def read_sealed(source: Bytes, start: int, limit: int, before: bytes = b"") -> Bytes:
    """A length, a body and the checksum of some bytes and everything from `start` on."""
    body = source.take(source.varint(0, limit))
    need(checksum(before + source.data[start : source.place]) == int.from_bytes(source.take(2), "big"), "checksum")
    return Bytes(body)


def read_header(source: Bytes) -> dict[str, Any]:
    need(source.take(3) == b"IMF", "magic")
    need(source.u8() == 2, "version")
    body = read_sealed(source, 0, 65792)
    flags = body.varint(0, 511)
    head: dict[str, Any] = {"variable_rate": bool(flags & 1), "rotation": 90 * (flags >> 4 & 3)}
    head["size"] = body.varint(16, 4096), body.varint(16, 4096)
    need(min(head["size"]) <= 2304, "shorter side")
    head["shown"] = (body.varint(1, 16384), body.varint(1, 16384)) if flags & 256 else None
    need(head["shown"] != head["size"], "shown size is the coded size")
    head["model_id"] = body.take(8)
    read_timing(body, head)
    head["aspect"] = body.fraction() if flags & 4 else Fraction(1)
    need(head["aspect"] != 1 or not flags & 4, "default aspect given")
    head["colour"] = read_colour(body) if flags & 8 else (2, 2, 2, False)
    need(head["colour"] != (2, 2, 2, False) or not flags & 8, "default colour given")
    head["first_pts"] = body.zigzag() if flags & 64 else 0
    need(abs(head["first_pts"]) <= 2**60 and (head["first_pts"] != 0 or not flags & 64), "first_pts")
    head["ticks"] = body.fraction() if flags & 128 else 1 / (head["rate"] * head["base"])
    need(head["variable_rate"] or head["ticks"] >= 1, "coarse time base")
    head["audio"] = read_audio_track(body) if flags & 2 else None
    need(body.left() == 0, "body too long")
    return head


def read_timing(body: Bytes, head: dict[str, Any]) -> None:
    timing = body.u8()
    head["rate"] = Fraction(RATES[(timing >> 4) - 1]) if timing >> 4 else body.fraction()
    need(timing >> 4 > 0 or str(head["rate"]) not in RATES, "rate has a code")
    code = timing & 15
    if code == 0:
        head["base"] = body.fraction()
    else:
        head["base"] = 1 / head["rate"] if code == 1 else Fraction(1, BASES[code - 2])
    need(code == 1 or head["base"] * head["rate"] != 1, "time base is a frame")
    need(code > 0 or str(head["base"]) not in [f"1/{base}" for base in BASES], "time base has a code")


def read_colour(body: Bytes) -> tuple[int, int, int, bool]:
    full, code = divmod(body.u8(), 128)
    need(code <= 8, "colour code")
    points = COLOURS[code - 1] if code else (body.u8(), body.u8(), body.u8())
    need(code > 0 or points not in COLOURS, "colour has a code")
    return (*points, bool(full))


def read_audio_track(body: Bytes) -> dict[str, Any]:
    codec = body.take(body.varint(1, 32))
    need(all(32 <= byte < 127 for byte in codec), "codec name")
    track: dict[str, Any] = {"codec": codec.decode("ascii"), "rate": body.varint(1, 1000000), "channels": body.u8()}
    need(track["channels"] >= 1, "channels")
    num = body.varint(0, 2**31 - 1)
    den = body.varint(1, 2**31 - 1) if num else track["rate"]
    track["base"] = Fraction(num or 1, den)
    need(num == 0 or track["base"].denominator == den, "audio time base not in lowest terms")
    need(num == 0 or track["base"] != Fraction(1, track["rate"]), "audio time base is a sample")
    track["extradata"] = body.take(body.varint(0, 65536))
    return track


def read_head(byte: int) -> tuple[str, int, bool, bool]:
    """Kind, frames, golden and own quantisers of a first byte."""
    plain = {
        1: ("KEY", 1),
        3: ("DELAY_GOLDEN", 1),
        4: ("DELAY_TOKEN", 1),
        5: ("AUDIO", 0),
        6: ("INDEX", 0),
        7: ("END", 0),
    }
    if byte in plain:
        return (*plain[byte], False, False)
    if byte in (0x23, 0x24):
        return (*plain[byte - 0x20], False, True)
    need(0x40 <= byte < 0xC0, f"first byte {byte}")
    return "CHUNK", byte % 32 + 1, byte >= 0x80, bool(byte & 0x20)


class Stream:
    """Reads a whole stream; `packets` are (kind, ...) tuples in order.

    Video: (kind, frames, golden, key qindex or 0, (golden, deeper, token), time stamps, payload).
    Sound: ("AUDIO", [(time stamp, duration, data), ...]).
    """

    def __init__(self, data: bytes) -> None:
        self.source = Bytes(data)
        self.head = read_header(self.source)
        self.step = max(1, int(self.head["ticks"] + Fraction(1, 2)))
        self.frame, self.last = 0, None
        self.usual: tuple[int, ...] | None = None
        self.keys: list[tuple[int, int]] = []
        self.packets: list[tuple[Any, ...]] = []
        self.index_size = 0
        while not self.read_packet():
            pass
        need(self.source.left() == 0, "bytes after END")

    def read_packet(self) -> bool:
        """Read one; whether it was END."""
        start = self.source.place
        kind, frames, golden, own = read_head(self.source.u8())
        numbered = kind in ("CHUNK", "DELAY_GOLDEN", "DELAY_TOKEN")
        body = read_sealed(self.source, start, 67108864, self.frame.to_bytes(4, "big") if numbered else b"")
        need(kind == "END" or not self.index_size, "a packet after INDEX")
        if kind == "AUDIO":
            self.packets.append((kind, self.read_audio(body)))
        elif kind == "INDEX":
            self.read_index(body)
            self.index_size = self.source.place - start
        elif kind == "END":
            self.read_end(body, self.source.place - 10)
        else:
            self.read_video(start, kind, frames, golden, own, body)
        return kind == "END"

    def read_video(self, start: int, kind: str, frames: int, golden: bool, own: bool, body: Bytes) -> None:
        qindex = 0
        if kind == "KEY":
            qindex, *usual = body.take(4)
            now = self.usual = tuple(usual)
            need(body.varint() == self.frame, "frame number")
            self.keys.append((start if self.keys else 0, self.frame))
        else:
            need(self.usual is not None, "no KEY yet")
            now = self.usual
            if own and golden:
                now = tuple(body.take(3))
            elif own and kind == "DELAY_GOLDEN":
                now = (body.u8(), *now[1:])
            elif own:
                now = (*now[:2], body.u8())
            need(not own or now != self.usual, "usual quantisers given")
        stamps = self.read_times(kind, frames, body)
        self.packets.append((kind, frames, golden, qindex, now, stamps, body.take(body.left())))

    def read_times(self, kind: str, frames: int, body: Bytes) -> tuple[int, ...]:
        stamps = []
        for _ in range(frames):
            if not self.head["variable_rate"]:
                # floor(x + 1/2) in whole numbers: // rounds down
                stamp = self.head["first_pts"] + (self.frame * self.head["ticks"] + Fraction(1, 2)).__floor__()
            elif kind == "KEY":
                stamp = self.head["first_pts"] + body.zigzag()
            else:
                stamp = self.last + self.step + body.zigzag()
            need(abs(stamp) <= 2**60 and (self.last is None or stamp > self.last), "time stamp")
            self.last = stamp
            self.frame += 1
            stamps.append(stamp)
        return tuple(stamps)

    def read_audio(self, body: Bytes) -> list[tuple[int, int, bytes]]:
        need(self.head["audio"] is not None, "no audio track")
        flags, count = body.u8(), body.varint(1, 1024)
        need(flags < 4, "audio flags")
        times, end = [], 0
        for number in range(count):
            if number == 0 or flags & 1:
                gap, duration = body.zigzag(), body.varint(0, 2**40)
            else:
                gap = 0
            times.append((end + gap, duration))
            end += gap + duration
        need(all(abs(stamp) <= 2**60 for stamp, _ in times), "audio time stamp")
        sizes = [body.varint(1)] * count if flags & 2 else [body.varint(1) for _ in range(count)]
        need(sum(sizes) == body.left(), "audio sizes")
        return [(stamp, duration, body.take(size)) for (stamp, duration), size in zip(times, sizes, strict=True)]

    def read_index(self, body: Bytes) -> None:
        place, number = 0, 0
        entries = []
        while body.left():
            place, number = place + body.varint(), number + body.varint()
            entries.append((place, number))
        need(entries == self.keys[1:], "index")

    def read_end(self, body: Bytes, hash_place: int) -> None:
        need(body.varint(0, 4294967295) == self.frame, "number of frames")
        duration = body.varint(0, 2**60)
        need(duration != self.step and (duration == 0 or self.frame > 0), "last duration")
        self.last_duration = (duration or self.step) if self.frame else 0
        size = body.varint(1) if body.left() != 8 else 0
        need(size == self.index_size, "size of the index")
        need(body.take(body.left()) == hashlib.sha256(self.source.data[:hash_place]).digest()[:8], "hash")
