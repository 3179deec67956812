"""What frames are for and what tables there are: names that need no torch."""

from enum import Enum, IntEnum


class Table(Enum):
    """The groups of probability tables of a model."""

    GAUSSIAN = "gaussian"
    HYPER = "hyper"


class Role(IntEnum):
    """What a frame is for."""

    KEY = 0
    GOLDEN = 1
    TOKEN = 2
