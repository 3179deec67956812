"""Numbers that are the same on every machine and in every version of everything: drawn from the hash of a name."""

import hashlib

import numpy as np
import numpy.typing as npt


class Numbers:
    """An endless sequence of numbers.

    Args:
        name: what they are for; another name gives other numbers.
    """

    def __init__(self, name: str) -> None:
        self._name, self._calls = name, 0

    def words(self, count: int) -> npt.NDArray[np.int64]:
        """The next `count` numbers, whole ones in 0..65535."""
        self._calls += 1
        data = hashlib.shake_256(f"{self._name} {self._calls}".encode()).digest(2 * count)
        return np.frombuffer(data, "<u2").astype(np.int64)

    def below(self, limit: int) -> int:
        """A whole number in 0..limit - 1; `limit` is at most 65536."""
        return int(self.words(1)[0]) * limit >> 16

    def spread(self, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
        """Numbers in -1..1, multiples of 1/256."""
        count = int(np.prod(shape))
        return ((self.words(count) >> 7) - 256).reshape(shape) / 256
