"""What the encoder decides by trials: how long chunks are, and where key and golden frames pay."""

from collections.abc import Mapping, Sequence

import torch

from imfcodec.codec.control import PACKET_BYTES
from imfcodec.codec.weighing import Sparing, Weights, weighed
from imfcodec.latents.symbols import PriorTables, SymbolWriter
from imfcodec.models.executor import Executor, Known, Part, Qindices
from imfcodec.models.network import ImfNetwork
from imfcodec.models.structure import Chunk, Interval, Step, golden_between, golden_levels, halves, plan, token_levels
from imfcodec.nn.picture import Picture
from imfcodec.nn.quantize import bit_price

BIT_PRICE = 3.0  # of a bit, as a multiple of its nominal one: what finer golden frames cost serves later frames too
KEY_GAIN = 1.2  # by which a key frame must be cheaper than a golden one, as it is then coded better, for many frames
MIDDLE_SHARE = 0.7  # of what the middle of an interval is worse than its ends, how much the mean of its frames is


def squared_error(picture: Picture, target: Picture, weights: torch.Tensor | None = None) -> float:
    """Mean over luma, of samples 0..1, times the weights of their places."""
    return float(weighed((picture.luma - target.luma).square(), weights).mean())


class ChunkTrial:
    """Tries chunks of several lengths, their ends as key frames, and intervals with and without a golden frame inside.

    Args:
        frames: originals by position, that of the anchor at 0 included if intervals are tried.
        weights: of their places.
    """

    def __init__(
        self,
        network: ImfNetwork,
        tables: PriorTables,
        qindices: Qindices,
        frames: Mapping[int, Picture],
        weights: Weights | None = None,
    ) -> None:
        self._network, self._tables, self._qindices = network, tables, qindices
        self._frames, self._weights = frames, weights or {}
        self._executor = self._open(self._weights)
        self._bits = 0.0
        self._ends: dict[int, tuple[Known, float]] = {}

    def _open(self, weights: Weights) -> Executor:
        writer = SymbolWriter(self._tables)  # nobody needs what it writes
        return Executor(self._network, writer, self._count, Sparing(self._network, self._tables, weights))

    def _count(self, _steps: Sequence[Step], _part: Part, bits: float) -> None:
        self._bits += bits

    def cost_per_frame(self, length: int, anchor: Known) -> float:
        """What a chunk of some frames after the anchor costs, squared error and rate, by its end and its middle."""
        end, golden = self._end(length, anchor)
        inside = min(self._costs((0, length), 1, {0: anchor, length: end})) if length > 1 else 0.0
        return (golden + inside + self._price(_end_of(length)) * 8 * PACKET_BYTES) / length

    def prefers_tokens(self, length: int, anchor: Known) -> bool:
        """Whether a few frames after the anchor, the last of their group, cost less as token frames of the past."""
        levels, known = plan(Chunk(length, False)), {0: anchor}
        self._bits = 0.0
        for level in levels:
            self._executor.run(level, known, self._qindices, self._frames)
        steps = [step for level in levels for step in level]
        pictures = self._executor.render(steps, known, self._qindices)
        error = sum(self._error_of(picture, step.position) for step, picture in zip(steps, pictures, strict=True))
        price = self._price(_end_of(length))
        return error + price * (self._bits + 8 * PACKET_BYTES) < length * self.cost_per_frame(length, anchor)

    def prefers_key(self, position: int, anchor: Known) -> bool:
        """Whether the frame costs much less as a key frame than as a golden frame predicted from the anchor alone.

        Both with the quantiser of golden frames, squared error and rate together.
        """
        _, golden = self._end(position, anchor)
        self._bits, frame = 0.0, self._frames[position]
        weights = {0: self._weights[position]} if position in self._weights else {}
        known = {position: self._open(weights).key(self._qindices.golden, frame, frame)}
        return KEY_GAIN * (self._error(known, position) + self._price(_end_of(position)) * self._bits) < golden

    def _end(self, position: int, anchor: Known) -> tuple[Known, float]:
        """A golden frame predicted from the anchor alone, and what it costs."""
        if position not in self._ends:
            step = _end_of(position)
            known, self._bits = {0: anchor}, 0.0
            self._executor.run((step,), known, self._qindices, self._frames)
            cost = self._error(known, position) + self._price(step) * self._bits
            self._ends[position] = known[position], cost
        return self._ends[position]

    def pays(self, interval: Interval, depth: int, known: Mapping[int, Known]) -> bool:
        """Whether a golden frame, `depth` halvings below the end of the chunk, gains more than it costs."""
        plain, split = self._costs(interval, depth, known)
        return split < plain

    def _costs(self, interval: Interval, depth: int, known: Mapping[int, Known]) -> tuple[float, float]:
        """What the frames inside an interval cost without and with a golden frame in its middle."""
        step = golden_between(interval, depth)
        price = self._price(step)
        (plain,) = self._leaves([interval], dict(known), price)
        trial = dict(known)
        self._bits = 0.0
        self._executor.run((step,), trial, self._qindices, self._frames)
        golden = self._error(trial, step.position) + price * self._bits
        inside = [half for half in halves(interval) if half[1] - half[0] > 1]
        as_leaves = self._leaves(inside, trial, price)
        all_golden = (golden * (right - left - 1) for left, right in inside)  # where no token frame would do
        return plain, golden + sum(map(min, as_leaves, all_golden))

    def _price(self, step: Step) -> float:
        """Squared error of a frame that a bit is worth."""
        return BIT_PRICE * float(bit_price(self._qindices.of(step))) / next(iter(self._frames.values())).luma[0].numel()

    def _leaves(self, leaves: Sequence[Interval], known: dict[int, Known], price: float) -> list[float]:
        """Squared error of the token frames of each interval, summed, plus the price of their bits.

        Those in the middle are coded and rendered; the others are estimated from them and from the ends.
        """
        if not leaves:
            return []
        middles = token_levels(leaves)[0]
        self._bits = 0.0
        self._executor.run(middles, known, self._qindices, self._frames)
        share = price * self._bits / len(leaves)
        return [self._interval_cost(step, known) + share for step in middles]

    def _interval_cost(self, step: Step, known: dict[int, Known]) -> float:
        left, right = step.references
        (picture,) = self._executor.render([step], known, self._qindices)
        middle = self._error_of(picture, step.position)
        if right - left == 2:
            return middle
        ends = (self._error(known, left) + self._error(known, right)) / 2
        return (right - left - 1) * (ends + MIDDLE_SHARE * max(0.0, middle - ends))

    def _error(self, known: Mapping[int, Known], position: int) -> float:
        reference = known[position].reference
        assert reference is not None, "ends of intervals are golden frames or anchors"
        return self._error_of(reference.picture, position)

    def _error_of(self, picture: Picture, position: int) -> float:
        return squared_error(picture, self._frames[position], self._weights.get(position))


def _end_of(length: int) -> Step:
    """The golden frame that ends a chunk."""
    ((step,),) = golden_levels(Chunk(length, True))
    return step
