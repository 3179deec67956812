"""Integer probability tables: what the entropy coder needs to know, and nothing else."""

from dataclasses import dataclass

import constriction
import numpy as np
import numpy.typing as npt

from imfcodec.errors import ModelError

PRECISION = 16  # a row of a table sums to 2^16


@dataclass(frozen=True)
class Tables:
    """A set of probability tables, CompressAI's layout.

    Attributes:
        cdf: int32 [N, L], each row 0 = c_0 < c_1 < ... < c_len-1 = 2^16, padded with anything.
        lengths: int32 [N], entries used of each row; row i has lengths[i] - 1 symbols, of which the last is the
            escape symbol.
        offsets: int32 [N], the value of each row's first symbol.
    """

    cdf: npt.NDArray[np.int32]
    lengths: npt.NDArray[np.int32]
    offsets: npt.NDArray[np.int32]

    def __post_init__(self) -> None:
        for row, length in zip(self.cdf, self.lengths, strict=True):
            used = row[:length]
            if length < 3 or used[0] != 0 or used[-1] != 1 << PRECISION or not (np.diff(used) > 0).all():
                raise ModelError("a probability table of the model is not a proper distribution; reinstall the weights")

    def models(self) -> list["constriction.stream.model.Categorical"]:
        """One constriction model a row.

        Multiples of 2^-16 in float64 make constriction's own arithmetic exact: entry c_i of a row of n symbols becomes
        floor(c_i (2^24 - n) / 2^16) + i of 2^24 on every machine (SPEC.md, "Video payload").
        """
        return [
            constriction.stream.model.Categorical(np.diff(row[:length]) / (1 << PRECISION), perfect=False)
            for row, length in zip(self.cdf, self.lengths, strict=True)
        ]
