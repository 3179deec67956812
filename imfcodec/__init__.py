"""imfcodec: a neural video codec for a person talking on screen at a few kilobits per second."""

__version__ = "0.3.0.dev0"
