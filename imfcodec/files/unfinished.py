"""An output file that outlives a run that does not finish, so that the next one can go on with it."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from imfcodec.errors import UsageError
from imfcodec.files.output import OutputFile
from imfcodec.files.targets import named_errors


class UnfinishedFile(OutputFile):
    """An output file that is kept beside its target, as `TARGET.TAG.unfinished`, until it is complete.

    Args:
        path, overwrite: as for `OutputFile`.
        tag: stands for everything the content follows from; a file with another tag is not gone on with.

    Attributes:
        previous: what an earlier run left, open for reading, None where there is nothing.
    """

    def __init__(self, path: str | Path, tag: str, *, overwrite: bool) -> None:
        self._is_settled = False
        self.previous: BinaryIO | None = None
        super().__init__(path, overwrite=overwrite)
        if self._temporary is None:
            self.discard()
            raise UsageError(f"{path} is no file; only an encode into a file can be gone on with")
        self._known = self._target.with_name(f"{self._target.name}.{tag}.unfinished")
        if self._known.is_file():
            with named_errors(self.name):
                self.previous = open(self._known, "rb")  # noqa: SIM115  # closed by `settle` and `discard`

    def settle(self) -> None:
        """Take the place of what the earlier run left: all that is wanted of it is written."""
        assert self._temporary is not None, "checked when opened"
        with named_errors(self.name):
            os.replace(self._temporary.path, self._known)
        self._temporary.path, self._is_settled = self._known, True
        self._close_previous()

    def discard(self) -> None:
        """Close it; it stays where it is, unless it was committed or never settled."""
        if self._is_settled:
            with suppress(OSError):
                self._raw.close()
        else:
            super().discard()
            self._close_previous()

    def _publish(self, temporary: Path) -> None:
        super()._publish(temporary)
        self._is_settled = False
        own = re.compile(re.escape(self._target.name) + r"\.[0-9a-f]+\.unfinished")
        for name in os.listdir(self._target.parent):
            if own.fullmatch(name):  # of other options, or sources that have changed
                with suppress(OSError):
                    os.unlink(self._target.with_name(name))

    def _close_previous(self) -> None:
        if self.previous:
            self.previous.close()
            self.previous = None


@contextmanager
def keep_beside(path: str | Path, tag: str, *, overwrite: bool) -> Iterator[UnfinishedFile]:
    """Open a file that takes the place of `path` when the block ends without an exception; else it is kept beside."""
    output = UnfinishedFile(path, tag, overwrite=overwrite)
    try:
        yield output
        output.commit()
    finally:
        output.discard()
