"""One video coded by several processes, group by group, into the packets that one process makes.

What becomes of a group follows from its own frames and from where it begins. Where that is, only the group before
tells: an encoder may end a group early, by trial. So workers begin groups where pictures alone say that they begin, and
those are taken that begin where the one before has ended; the others were coded in vain, and go.
"""

import os
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from io import BytesIO
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NamedTuple, cast

from imfcodec.api.footage import open_footage
from imfcodec.api.model import Model
from imfcodec.api.options import EncodeOptions
from imfcodec.api.places import Location
from imfcodec.api.verifying import VerifiedSink
from imfcodec.bitstream.container import StreamWriter
from imfcodec.bitstream.header import StreamHeader
from imfcodec.bitstream.packet import VideoPacket
from imfcodec.codec.source import FrameSource, GroupForecast
from imfcodec.errors import ImfError, InputError, ModelError, UsageError, WorkerError
from imfcodec.frames import Frame
from imfcodec.limits import Limits
from imfcodec.video.notes import Notes
from imfcodec.video.regions import with_weights
from imfcodec.video.scaling import resized
from imfcodec.workers import Worker, WorkerLostError, first_ready

AHEAD = 2  # groups for each worker that are begun before their turn, so that few packets wait in memory


@dataclass(frozen=True)
class Jobs:
    """Coding by several processes.

    Attributes:
        source: what they open, each on its own.
        options: what to make of it.
        count: how many there are, at least one.
    Raises:
        UsageError: the source cannot be opened again and again, or groups depend on those before.
    """

    source: Location
    options: EncodeOptions
    count: int

    def __post_init__(self) -> None:
        if self.options.target:
            raise UsageError(f"--jobs goes with a quality, not with {self.options.target.kind.option}")
        if not isinstance(self.source, str | Path) or _is_pipe_or_device(self.place):
            raise UsageError("--jobs needs a file to read; a pipe is read only once")

    @property
    def place(self) -> str:
        """Name of the source in any process: /dev/stdin is another file in each."""
        assert isinstance(self.source, str | Path), "checked when made"
        return os.path.realpath(self.source)


class Ended(NamedTuple):
    """The end of a group: number of the first frame of the next one, None at the end of the video."""

    following: int | None


class GroupCoder:
    """What a worker does: codes the group that begins at a frame.

    Args:
        source: opened here, when the first group is asked for.
        header: of the stream; says the coded size and the model.
    """

    def __init__(
        self, source: Location, options: EncodeOptions, model: Model, limits: Limits, header: StreamHeader
    ) -> None:
        self._location, self._options, self._model = source, options, model
        self._limits, self._header = limits, header
        self._opened = ExitStack()
        self._source: FrameSource | None = None

    def __call__(self, task: tuple[int, int]) -> Iterator[tuple[int, VideoPacket | Ended | Exception]]:
        """Give the packets and the end of a group, or an error, each with the number of the task.

        Args:
            task: number of the task, and of the frame that the group begins with.
        """
        number, start = task
        try:
            source = self._at(start)
            for packet in self._code(source):
                yield number, packet
            yield number, Ended(None if source.is_at_end() else source.position)
        except Exception as error:
            yield number, _portable(error)

    def _at(self, start: int) -> FrameSource:
        """The source at a frame; what lies before that is read and passed over."""
        if self._source is None or self._source.position > start:
            self._source = self._open()
        self._source.pass_over(start)
        return self._source

    def _open(self) -> FrameSource:
        self._opened.close()
        _, footage = self._opened.enter_context(open_footage(self._location, self._options, self._limits))
        silent = Notes(self._location, None)  # the process that has the jobs says it
        counting = with_weights(footage.frames(), self._options.roi, footage.format, self._limits, silent)
        frames = resized(counting, self._header.format.width, self._header.format.height)
        return FrameSource(frames, scene_cuts=self._options.scene_cuts, key_interval=self._options.longest_group)

    def _code(self, source: FrameSource) -> Iterator[VideoPacket]:
        from imfcodec.codec.encoder import Encoder

        loaded = self._model.load()
        if loaded.model_id != self._header.model_id:
            raise ModelError(f"model {self._model.name} has changed while it was in use; start again")
        shown: list[Frame] = []
        encoder = Encoder(loaded, self._options, show=shown.extend if self._options.verify else None)
        packets = self._model.paced(encoder.encode_group(source))
        return self._verified(packets, shown) if self._options.verify else packets

    def _verified(self, packets: Iterator[VideoPacket], shown: list[Frame]) -> Iterator[VideoPacket]:
        """The packets of a group, each once it is decoded, from a stream of its own, to what is `shown` by then."""
        checked = VerifiedSink(BytesIO(), self._model, self._limits)
        writer: StreamWriter | None = None
        for packet in packets:
            if writer is None:
                header = replace(self._header, audio=None, variable_rate=True, first_pts=packet.pts[0])
                writer = StreamWriter(cast(BinaryIO, checked), header)
            checked.expect(shown)
            shown.clear()
            writer.write_video(packet)
            yield packet
        if writer is not None:
            writer.close()
            checked.finish()


@dataclass
class _Group:
    """A group that a worker was given.

    Attributes:
        number: of the task.
        start: number of its first frame.
        waiting: what came of it and is not taken yet.
        end: its end, None until that has come; an error ends it too.
    """

    number: int
    start: int
    waiting: deque[VideoPacket | Exception] = field(default_factory=deque)
    end: Ended | None = None


class SideBySide:
    """Workers that code the groups of one video; a context manager, which ends them.

    Args:
        jobs: how many workers there are, at most.
        work: what they do.
        forecast: where groups may end.
    """

    def __init__(self, jobs: int, work: GroupCoder, forecast: GroupForecast) -> None:
        self._jobs, self._work, self._forecast = jobs, work, forecast
        self._given: dict[Worker, _Group] = {}
        self._wanted: dict[int, _Group] = {}
        self._count = 0

    def packets(self, start: int) -> Iterator[VideoPacket]:
        """The packets of all groups from the one on that begins at frame `start`, in order.

        Raises:
            WorkerError: a worker was killed.
            ImfError: whatever went wrong in a worker.
        """
        head: int | None = start
        while head is not None:
            while not self._is_ended(head):
                self._hand_out(head)
                self._receive()
                yield from self._take(head)
            yield from self._take(head)
            end = self._wanted.pop(head).end
            head = end.following if end else None

    def _is_ended(self, start: int) -> bool:
        return start in self._wanted and self._wanted[start].end is not None

    def _take(self, start: int) -> Iterator[VideoPacket]:
        """What has come of a group and was not taken before."""
        waiting = self._wanted[start].waiting if start in self._wanted else ()
        while waiting:
            item = waiting.popleft()
            if isinstance(item, Exception):
                raise item
            yield item

    def _hand_out(self, head: int) -> None:
        """Give the groups to come to workers that have nothing to do, or code what is not wanted any more."""
        reached = set()
        for start in self._chain(head):
            reached.add(start)
            if start >= max(self._wanted, default=head):
                break
        self._wanted = {start: group for start, group in self._wanted.items() if start in reached}
        coming = islice(self._chain(head), AHEAD * self._jobs)
        while self._has_free():
            begin = next((start for start in coming if start not in self._wanted), None)
            if begin is None:
                return
            self._begin(begin)

    def _chain(self, head: int) -> Iterator[int]:
        """Where groups begin from one on, as far as it is known, and from there on as it is foretold."""
        start: int | None = head
        while start is not None:
            yield start
            end = self._wanted[start].end if start in self._wanted else None
            start = end.following if end else self._forecast.end_of(start)

    def _free(self) -> list[Worker]:
        """Workers with nothing to do, or with what is not wanted any more."""
        given = self._given.items()
        return [worker for worker, group in given if group.end or self._wanted.get(group.start) is not group]

    def _has_free(self) -> bool:
        return len(self._given) < self._jobs or bool(self._free())

    def _begin(self, start: int) -> None:
        """Give a group to a free worker: to the one that has read closest to it, and least likely past it."""
        places = {worker: self._given[worker].start for worker in self._free()}
        worker = max(places, key=lambda worker: (places[worker] < start, places[worker]), default=None)
        worker = worker or Worker(self._work)
        self._count += 1
        self._wanted[start] = self._given[worker] = _Group(self._count, start)
        worker.give((self._count, start))

    def _receive(self) -> None:
        """Wait for a message of any worker."""
        worker = first_ready(self._given)
        try:
            number, item = worker.take()
        except WorkerLostError:
            raise WorkerError("a job was killed; it may need more memory, or fewer --jobs beside it") from None
        group = self._given[worker]
        if number != group.number:  # of the group it had before
            return
        if isinstance(item, Ended):
            group.end = item
            return
        group.waiting.append(item)
        if isinstance(item, Exception):
            group.end = Ended(None)

    def __enter__(self) -> "SideBySide":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._given:
            worker.kill()


def code_side_by_side(
    jobs: Jobs,
    frames: Iterator[Frame],
    start: int,
    options: EncodeOptions,
    model: Model,
    limits: Limits,
    header: StreamHeader,
) -> Generator[VideoPacket, None, None]:
    """The packets of a video from a key frame on, in order; closing the generator ends the workers.

    Args:
        frames: from that key frame on, looked at for scene cuts alone.
        start: number of the key frame.
        options, model, header: as for one process.
        limits: of each process.
    Raises:
        InputError: the workers did not see the frames that are here.
        Errors of `SideBySide.packets`.
    """
    coded = resized(frames, header.format.width, header.format.height)
    forecast = GroupForecast(coded, start, scene_cuts=options.scene_cuts, key_interval=options.longest_group)
    done = start
    with SideBySide(jobs.count, GroupCoder(jobs.place, options, model, limits, header), forecast) as groups:
        for packet in groups.packets(start):
            done += packet.frame_count
            yield packet
    forecast.read_all()
    if done != forecast.position:
        raise InputError(f"{jobs.source}: has changed while it was read; start again")


def _is_pipe_or_device(path: str) -> bool:
    return os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)


def _portable(error: Exception) -> Exception:
    """An exception that comes whole out of a pipe: one of Python's own or of ours."""
    is_known = isinstance(error, ImfError) or type(error).__module__ == "builtins"
    return error if is_known else RuntimeError(f"{type(error).__name__}: {error}")
