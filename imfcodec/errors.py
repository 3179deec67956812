"""The error tree. Every error a caller may see is an `ImfError` with the exit code the command line returns for it."""


class ImfError(Exception):
    """Base of all errors raised on purpose. The message is one line that names the thing and the cure."""

    exit_code = 1


class UsageError(ImfError):
    """The caller asked for something that cannot be done as asked (options, existing output, wrong kind of file)."""

    exit_code = 2


class InputError(ImfError):
    """A source video or file cannot be read."""

    exit_code = 3


class OutputError(ImfError):
    """An output cannot be written: disk full, no permission, pipe closed at its other end."""


class WorkerError(ImfError):
    """A process that works for this one is gone: killed, or out of memory."""


class CorruptStreamError(InputError):
    """An .imf stream breaks its own format: bad magic, checksum, length or field."""


class TruncatedStreamError(CorruptStreamError):
    """An .imf stream ends before its end packet."""


class LimitError(ImfError):
    """A size, count or length is above what the format or this build allows. Raised before anything is allocated."""

    exit_code = 4


class ModelError(ImfError):
    """The model a stream names is missing, different or damaged."""

    exit_code = 5


class SymbolRangeError(ImfError):
    """An integer to be coded lies outside the range the entropy coder can write."""
