"""A second decoder of symbols, written from SPEC.md alone; it shares no line with imfcodec.

It reads model files, the range coder's messages and everything that whole numbers decide: which symbols a packet holds.
Arrays of whole numbers are int64 [frames, channels, rows, columns]; activations count sixteenths.
"""

import hashlib
import json
from bisect import bisect_right
from typing import Any, NamedTuple

import numpy as np
from second_reader import Stream, need

TYPES = {"F16": "<f2", "F32": "<f4", "I32": "<i4"}
KEY, GOLDEN, TOKEN = range(3)
PLACES = ((0, 0), (1, 1), (0, 1), (1, 0))
LARGEST = 2**20 - 1
BYTE, BIT = ([i * 2**24 // n for i in range(n + 1)] for n in (256, 2))


class Model:
    """A model file: its configuration, its tensors and its tables."""

    def __init__(self, data: bytes) -> None:
        self.id = hashlib.sha256(data).digest()[:8]
        start = 8 + int.from_bytes(data[:8], "little")
        header = json.loads(data[8:start])
        self.config = json.loads(header.pop("__metadata__")["config"])
        self.tensors = {}
        for name, entry in header.items():
            first, last = entry["data_offsets"]
            values = np.frombuffer(data[start + first : start + last], TYPES[entry["dtype"]])
            self.tensors[name] = values.reshape(entry["shape"])
        self.gaussian, self.hyper = self.tables("gaussian"), self.tables("hyper")

    def tables(self, name: str) -> list[tuple[list[int], int]]:
        """Of each row the left ends of its symbols' intervals and, last, 2^24; and its smallest value."""
        cdf, lengths, offsets = (
            self.tensors[f"tables.{name}.{part}"].tolist() for part in ("cdf", "lengths", "offsets")
        )
        rows = []
        for row, length, first in zip(cdf, lengths, offsets, strict=True):
            n = length - 1
            ends = [row[i] * (2**24 - n) // 2**16 + i for i in range(n)]
            rows.append(([*ends, 2**24], first))
        return rows

    def pointwise(self, name: str, x: np.ndarray) -> np.ndarray:
        """Sums, in units of 1/1024."""
        weight = np.clip(np.rint(64.0 * self.tensors[f"{name}.weight"]), -127, 127).astype(np.int64)
        bias = np.rint(1024.0 * self.tensors[f"{name}.bias"]).astype(np.int64)
        return np.einsum("oc,fchw->fohw", weight, x) + bias[:, None, None]

    def depthwise(self, name: str, x: np.ndarray) -> np.ndarray:
        """An activation of the 3x3 places about each, zeros outside."""
        weight = np.clip(np.rint(64.0 * self.tensors[f"{name}.weight"]), -127, 127).astype(np.int64)
        height, width = x.shape[2:]
        padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
        parts = (
            weight[3 * row + column][:, None, None] * padded[:, :, row : row + height, column : column + width]
            for row in range(3)
            for column in range(3)
        )
        return activation(sum(parts))

    def indices(self, layers: list[str], x: np.ndarray) -> np.ndarray:
        """Table indices that a network of 1x1 layers gives."""
        for name in layers[:-1]:
            x = activation(self.pointwise(name, x))
        return np.rint(np.clip(self.pointwise(layers[-1], x) / 128 + 8, 0, 63)).astype(np.int64)


def activation(sums: np.ndarray) -> np.ndarray:
    """Units of 1/1024 to those of 1/16."""
    return np.clip(np.rint(sums / 64), 0, 127).astype(np.int64)


class Message:
    """A range-coded message."""

    def __init__(self, payload: bytes) -> None:
        self.payload, self.place = payload, 8
        self.value, self.range = int.from_bytes(payload[:8].ljust(8, b"\0"), "big"), 2**64 - 1
        self.taken: list[int] = []

    def symbol(self, ends: list[int]) -> int:
        step = self.range >> 24
        quantile = self.value // step
        need(quantile < 2**24, "no encoder writes that")
        symbol = bisect_right(ends, quantile) - 1
        self.value -= ends[symbol] * step
        self.range = (ends[symbol + 1] - ends[symbol]) * step
        if self.range < 2**32:
            word = self.payload[self.place : self.place + 4].ljust(4, b"\0")
            self.value, self.range = self.value << 32 | int.from_bytes(word, "big"), self.range << 32
            self.place += 4
        return symbol

    def bit(self) -> bool:
        self.taken.append(self.symbol(BIT))
        return bool(self.taken[-1])

    def set(self, numbers: np.ndarray, tables: list[tuple[list[int], int]]) -> np.ndarray:
        """One set, its table numbers given; values of the same shape."""
        flat = numbers.reshape(-1)
        values = np.zeros(flat.shape, np.int64)
        for number in np.unique(flat).tolist():
            ends, first = tables[number]
            escape = len(ends) - 2
            places = np.flatnonzero(flat == number).tolist()
            symbols = [self.symbol(ends) for _ in places]
            for place, symbol in zip(places, symbols, strict=True):
                values[place] = first + symbol if symbol < escape else self.escaped(first, first + escape)
        self.taken += values.tolist()
        return values.reshape(numbers.shape)

    def escaped(self, first: int, end: int) -> int:
        folded = sum(self.symbol(BYTE) << 8 * n for n in range(3))
        value = -(folded + 1) // 2 if folded % 2 else folded // 2
        need(abs(value) <= LARGEST, "escaped value out of range")
        need(not first <= value < end, "escaped value has a symbol")
        return value

    def check(self) -> None:
        need(self.symbol(BYTE) == 0xA5, "check")


class Seen(NamedTuple):
    """Magnitudes of the symbols of a frame: u, g and y."""

    u: np.ndarray
    g: np.ndarray
    y: np.ndarray | None = None


class Job(NamedTuple):
    """A frame to read: neighbours (first, second), level, span, role, qindex."""

    near: tuple[Seen, Seen]
    level: int
    span: int
    role: int
    qindex: int


class SymbolReader:
    """Reads the symbols of the packets of one stream, in order."""

    def __init__(self, model: Model, size: tuple[int, int]) -> None:
        self.model, self.config = model, model.config
        self.limit = self.config["context_limit"]
        width, height = (-(-side // 64) * 64 for side in size)
        self.height, self.width = height, width
        self.group = max(1, 2**19 // (width * height))
        u = np.zeros((self.config["grid_channels"], height // 32, width // 32), np.int64)
        g = np.zeros((self.config["global_channels"], 1, 1), np.int64)
        y = np.zeros((self.config["latent_channels"], height // 16, width // 16), np.int64)
        self.nothing = Seen(u, g, y)
        self.seen: dict[int, Seen] = {}
        self.before = 0

    def read(
        self, kind: str, frames: int, golden: bool, qindex: int, own: tuple[int, ...], payload: bytes
    ) -> list[int]:
        """Splits and symbols of a packet."""
        message = Message(payload)
        if kind == "KEY":
            self.read_y(message, [self.nothing.y], KEY, [qindex])
            self.anchor()
        elif kind == "DELAY_GOLDEN" or golden:
            need(self.before == 0 or frames == 1, "a golden frame after token frames")
            self.read_golden(message, self.before + frames, own)
            self.anchor()
        else:
            for _ in range(frames):
                job = Job((self.seen[self.before], self.nothing), 1, self.before + 1, TOKEN, own[2])
                (self.seen[self.before + 1],) = self.read_tokens(message, [job])
                self.before += 1
        if kind != "DELAY_TOKEN":
            message.check()
        return message.taken

    def anchor(self) -> None:
        """What was read last is the anchor of what follows."""
        self.seen, self.before = {0: self.nothing}, 0

    def read_golden(self, message: Message, n: int, own: tuple[int, ...]) -> None:
        """A golden frame n frames after the anchor and, where no token frames came before, what lies between."""
        qindex, deeper, token = own
        depths, leaves = read_splits(message, n if self.before == 0 else 1)
        job = Job((self.nothing, self.nothing), 0, n, GOLDEN, qindex)
        self.read_with_y(message, [n], [job], [(0,)])
        for number, intervals in enumerate(depths, start=1):
            jobs = [self.between(part, part, GOLDEN, max(0, qindex - number * deeper)) for part in intervals]
            self.read_with_y(message, [sum(part) // 2 for part in intervals], jobs, intervals)
        parts = [(leaf, leaf) for leaf in leaves]
        while parts := [(leaf, part) for leaf, part in parts if part[1] - part[0] > 1]:
            tokens = self.read_tokens(message, [self.between(leaf, part, TOKEN, token) for leaf, part in parts])
            self.seen |= {sum(part) // 2: seen for (_, part), seen in zip(parts, tokens, strict=True)}
            parts = [(leaf, half) for leaf, part in parts for half in halves(part)]

    def between(self, references: tuple[int, int], part: tuple[int, int], role: int, qindex: int) -> Job:
        level = min(7, 1 + (part[1] - part[0] - 1).bit_length())
        return Job((self.seen[part[0]], self.seen[part[1]]), level, references[1] - references[0], role, qindex)

    def read_with_y(self, message: Message, positions: list[int], jobs: list[Job], references: list[Any]) -> None:
        """Golden frames: all tokens, then y in groups."""
        tokens = self.read_tokens(message, jobs)
        for start in range(0, len(jobs), self.group):
            some = range(start, min(start + self.group, len(jobs)))
            # twice the mean over the references, so that it stays whole
            near = [sum(self.seen[place].y for place in references[i]) * 2 // len(references[i]) for i in some]
            found = self.read_y(message, near, GOLDEN, [jobs[i].qindex for i in some])
            for i, y in zip(some, found, strict=True):
                self.seen[positions[i]] = tokens[i]._replace(y=y)

    def read_y(self, message: Message, near: list[np.ndarray], role: int, qindices: list[int]) -> np.ndarray:
        """y of some frames; magnitudes [frames, C_y, rows, columns]. `near` counts halves."""
        frames, channels = len(near), self.config["hyper_channels"]
        rows, columns = self.height // 16, self.width // 16
        numbers = np.arange(channels)[None, :, None, None].repeat(frames, 0)
        z = message.set(numbers.repeat(rows // 4, 2).repeat(columns // 4, 3), self.model.hyper)
        z = z.repeat(4, 2).repeat(4, 3)
        signs = np.concatenate([np.clip(z, 0, self.limit), np.clip(-z, 0, self.limit)], 1) * 16
        given = [np.stack(near) * 8, signs, conditions(qindices, role, rows, columns)]
        symbols = np.zeros((frames, self.config["latent_channels"], rows, columns), np.int64)
        layers = [f"latent_prior.indices.{name}" for name in ("enter", "body", "leave")]
        for number in range(4):
            around = self.model.depthwise("latent_prior.indices.around", symbols * 16)
            turn = np.zeros((frames, 4, rows, columns), np.int64)
            turn[:, number] = 16
            indices = self.model.indices(layers, np.concatenate([symbols * 16, around, *given, turn], 1))
            taken = message.set(take(indices, number), self.model.gaussian)
            put(symbols, np.minimum(abs(taken), self.limit), number)
        return symbols

    def read_tokens(self, message: Message, jobs: list[Job]) -> list[Seen]:
        """Tokens that are coded together: all u, then all g."""
        found = [self.read_part(message, jobs, part) for part in ("u", "g")]
        return [Seen(u, g) for u, g in zip(*found, strict=True)]

    def read_part(self, message: Message, jobs: list[Job], part: str) -> np.ndarray:
        first, second = (np.stack([getattr(job.near[side], part) for job in jobs]) for side in (0, 1))
        name = f"token_prior.{part}_index"
        around = self.model.depthwise(f"{name}.around", np.minimum(first + second, self.limit) * 16)
        rows, columns = first.shape[2:]
        place = [16 * np.array([min(job.level, 7) for job in jobs]), 2 * np.array([min(job.span, 63) for job in jobs])]
        row, column = (128 * np.arange(count) // count for count in (rows, columns))
        frequency = np.stack(np.broadcast_arrays(row[:, None], column[None], np.maximum(row[:, None], column[None])))
        planes = [
            first * 16,
            second * 16,
            around,
            conditions([job.qindex for job in jobs], jobs[0].role, rows, columns),
            spread(np.stack(place, 1), rows, columns),
            np.broadcast_to(frequency, (len(jobs), 3, rows, columns)),
        ]
        indices = self.model.indices([f"{name}.index.{n}" for n in range(3)], np.concatenate(planes, 1))
        return np.minimum(abs(message.set(indices, self.model.gaussian)), self.limit)


def read_splits(message: Message, n: int) -> tuple[list[list[tuple[int, int]]], list[tuple[int, int]]]:
    """The intervals that are split, by depth, and those that are not."""
    depths, leaves, intervals = [], [], [(0, n)]
    while intervals := [part for part in intervals if part[1] - part[0] > 1]:
        bits = [message.bit() for _ in intervals]
        leaves += [part for part, bit in zip(intervals, bits, strict=True) if not bit]
        split = [part for part, bit in zip(intervals, bits, strict=True) if bit]
        if split:
            depths.append(split)
        intervals = [half for part in split for half in halves(part)]
    return depths, sorted(leaves)


def halves(part: tuple[int, int]) -> list[tuple[int, int]]:
    middle = sum(part) // 2
    return [(part[0], middle), (middle, part[1])]


def conditions(qindices: list[int], role: int, rows: int, columns: int) -> np.ndarray:
    """Quantiser index and role, [frames, 4, rows, columns]."""
    return spread(np.array([[q // 2, *(32 * (role == other) for other in range(3))] for q in qindices]), rows, columns)


def spread(values: np.ndarray, rows: int, columns: int) -> np.ndarray:
    return values[:, :, None, None].repeat(rows, 2).repeat(columns, 3)


def take(x: np.ndarray, number: int) -> np.ndarray:
    """What a pass codes."""
    quarters = np.split(x, 4, 1)
    places = [PLACES[(g + number) % 4] for g in range(4)]
    return np.concatenate(
        [part[:, :, row::2, column::2] for part, (row, column) in zip(quarters, places, strict=True)], 1
    )


def put(x: np.ndarray, values: np.ndarray, number: int) -> None:
    size = x.shape[1] // 4
    for g in range(4):
        row, column = PLACES[(g + number) % 4]
        x[:, g * size : (g + 1) * size, row::2, column::2] = values[:, g * size : (g + 1) * size]


def decode(data: bytes, model: Model) -> tuple[Stream, list[list[int]]]:
    """A stream and the symbols of each of its video packets; InvalidError if it breaks a rule."""
    stream = Stream(data)
    need(stream.head["model_id"] == model.id, "another model")
    reader = SymbolReader(model, stream.head["size"])
    video = [packet for packet in stream.packets if packet[0] != "AUDIO"]
    return stream, [reader.read(*packet[:5], packet[6]) for packet in video]
