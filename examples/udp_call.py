"""A video call over UDP on this machine: what a camera sees is coded frame by frame, sent with losses, and shown.

    python examples/udp_call.py                                       # a face drawn by code, into call.y4m
    python examples/udp_call.py in.mp4 --window --loss 5 --reorder 5
    python examples/udp_call.py /dev/video0 --window -q 30

Packets travel in datagrams of 1200 bytes at most; what is lost stays lost. The stream's header and the end of the call
go another way, as by the signalling of a real call. Prints latency, from capture to window, and PSNR-Y.
"""

import argparse
import io
import queue
import random
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from fractions import Fraction
from typing import BinaryIO

import av
import numpy as np

from imfcodec import api
from imfcodec.errors import ImfError
from imfcodec.evaluation.synthetic import talking_face, talking_face_format

DATAGRAM_BYTES = 1200
DATAGRAM = struct.Struct(">IHH")  # number of the packet, of the piece, of pieces
POLL_SECONDS = 0.05
PATIENCE_SECONDS = 30  # for the other end, before all is given up
MAX_SECONDS = 86400
RATE = Fraction(25)  # of the face, and of cameras that do not say theirs


class Signals:
    """What goes another way: the stream's header, that nothing more will be sent, and what was captured and when."""

    def __init__(self) -> None:
        self.header: queue.Queue[bytes] = queue.Queue()
        self.over = threading.Event()
        self.captured: dict[int, tuple[np.ndarray, float]] = {}  # luma of frames on their way, by time stamp


class Network:
    """Sends datagrams to this machine, loses a share of them, and lets another share come late (0..1)."""

    def __init__(self, port: int, loss: float, reorder: float, seed: int) -> None:
        self._socket, self._address = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), ("127.0.0.1", port)
        self._loss, self._reorder, self._dice = loss, reorder, random.Random(seed)
        self._late: list[bytes] = []
        self.sent = self.lost = 0

    def send(self, datagram: bytes) -> None:
        """Send a datagram, and behind it those that are late."""
        self.sent += 1
        if self._dice.random() < self._loss:
            self.lost += 1
        elif self._dice.random() < self._reorder:
            self._late.append(datagram)
            return
        else:
            self._socket.sendto(datagram, self._address)
        while self._late:
            self._socket.sendto(self._late.pop(0), self._address)


class Sender(io.RawIOBase):
    """Takes a stream as the encoder writes it, a packet at a time, and sends it in datagrams."""

    def __init__(self, network: Network, signals: Signals) -> None:
        self._network, self._signals, self._packets = network, signals, 0

    def write(self, data: bytes) -> int:  # type: ignore[override]
        """Send a packet; the first one is the header."""
        room = DATAGRAM_BYTES - DATAGRAM.size
        starts = range(0, len(data), room) if self._packets else ()
        for number, start in enumerate(starts):
            self._network.send(DATAGRAM.pack(self._packets, number, len(starts)) + data[start : start + room])
        if not self._packets:
            self._signals.header.put(bytes(data))
        self._packets += 1
        return len(data)


class JitterBuffer(io.RawIOBase):
    """The stream as it arrives, for a decoder to read: packets in order, without those that are lost.

    A packet that is missing is waited for until later ones have been there for `seconds`.
    """

    def __init__(self, receiver: socket.socket, signals: Signals, seconds: float) -> None:
        self._socket, self._signals, self._seconds = receiver, signals, seconds
        self._socket.settimeout(POLL_SECONDS)
        self._pieces: dict[int, dict[int, bytes]] = {}  # of the packets that are not read yet
        self._whole: dict[int, tuple[bytes, float]] = {}  # and those of them that are complete, with their arrival
        self._next = 1
        self._data = signals.header.get(timeout=PATIENCE_SECONDS)

    def read(self, size: int = -1) -> bytes:
        """Some of the next bytes, `size` at most; none at the end."""
        self._data = self._data or self._take_packet()
        data, self._data = self._data[:size], self._data[size:]
        return data

    def _take_packet(self) -> bytes:
        deadline, is_over = time.monotonic() + PATIENCE_SECONDS, False
        while time.monotonic() < deadline:
            first = min((arrival for _, arrival in self._whole.values()), default=time.monotonic())
            if self._next in self._whole or (self._whole and (is_over or time.monotonic() - first > self._seconds)):
                number = min(self._whole)
                self._next = number + 1
                self._pieces = {other: pieces for other, pieces in self._pieces.items() if other > number}
                return self._whole.pop(number)[0]
            if is_over:
                return b""
            was_over, has_news = self._signals.over.is_set(), self._receive()
            is_over = was_over and not has_news
        raise TimeoutError(f"nothing came for {PATIENCE_SECONDS} seconds")

    def _receive(self) -> bool:
        """Take one datagram if one comes soon."""
        try:
            datagram = self._socket.recv(DATAGRAM_BYTES)
        except TimeoutError:
            return False
        packet, piece, count = DATAGRAM.unpack_from(datagram)
        if packet >= self._next:
            pieces = self._pieces.setdefault(packet, {})
            pieces[piece] = datagram[DATAGRAM.size :]
            if len(pieces) == count:
                self._whole[packet] = b"".join(pieces[i] for i in range(count)), time.monotonic()
        return True


def open_source(name: str, height: int, is_camera: bool) -> tuple[api.VideoFormat, Iterator[api.Frame]]:
    """A camera, a file, or "face"; of that height, frames numbered from 0."""
    if name == "face":
        form = talking_face_format(height, height, RATE)
        return form, talking_face(form, 1 << 20)
    container = av.open(name, format="v4l2" if is_camera else None)
    stream = container.streams.video[0]
    width = round(stream.width * height / stream.height / 2) * 2
    rate = Fraction(stream.average_rate or RATE)

    def frames() -> Iterator[api.Frame]:
        for number, picture in enumerate(container.decode(stream)):
            planes = picture.reformat(width, height, "yuv420p").to_ndarray()
            u, v = planes[height:].reshape(2, height // 2, width // 2)
            yield api.Frame(planes[:height], u, v, number)

    return api.VideoFormat(width, height, rate, 1 / rate), frames()


def live(
    frames: Iterator[api.Frame], rate: Fraction, seconds: float, is_camera: bool, signals: Signals
) -> Iterator[api.Frame]:
    """Frames at their times: those of a camera as they come (it drops what nobody takes), others when they are due."""
    start, latest = time.monotonic(), -1
    for frame in frames:
        latest = max(latest + 1, round((time.monotonic() - start) * rate)) if is_camera else frame.pts
        if latest >= seconds * rate:
            return
        if not is_camera:
            time.sleep(max(0.0, start + latest / float(rate) - time.monotonic()))
        signals.captured[latest] = frame.y, time.monotonic()
        yield replace(frame, pts=latest)


def show(
    receiver: socket.socket, model: api.Model, target: BinaryIO, signals: Signals, jitter_seconds: float
) -> list[tuple[float, float, bool]]:
    """Decode what arrives, write it as Y4M, and measure each frame: latency in ms, PSNR-Y, made up or not."""
    shown = []
    with api.Decoder(JitterBuffer(receiver, signals, jitter_seconds), model=model, conceal=True) as stream:
        form = stream.format
        rate = f"{form.frame_rate.numerator}:{form.frame_rate.denominator}"
        target.write(f"YUV4MPEG2 W{form.width} H{form.height} F{rate} C420\n".encode())
        for frame in stream:
            target.write(b"FRAME\n" + b"".join(plane.tobytes() for plane in (frame.y, frame.u, frame.v)))
            target.flush()
            original, seen = signals.captured.pop(frame.pts, (None, 0.0))
            if original is not None:
                error = np.mean((original.astype(np.float32) - frame.y) ** 2)
                psnr = 10 * np.log10(255**2 / max(float(error), 1e-3))
                shown.append((1000 * (time.monotonic() - seen), psnr, frame.concealed))
    return shown


def call(options: argparse.Namespace, target: BinaryIO) -> None:
    """Send, receive and print what came of it."""
    signals, model = Signals(), api.Model(threads=1)
    is_camera = options.source.startswith("/dev/video")
    video, frames = open_source(options.source, options.height, is_camera)
    model.load()
    receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.bind(("127.0.0.1", 0))
    network = Network(receiver.getsockname()[1], options.loss / 100, options.reorder / 100, options.seed)
    sender = Sender(network, signals)
    settings = api.EncodeOptions(options.quality, "low-delay", resilience=True, coded_size="1", preset="fast")
    seen = live(frames, video.frame_rate, options.seconds, is_camera, signals)
    clip = api.Clip(video, seen, variable_rate=True)
    with ThreadPoolExecutor(1) as pool:
        other_end = pool.submit(show, receiver, model, target, signals, options.jitter / 1000)
        try:
            stats = api.Encoder(settings, model=model).encode_clip(clip, sender)
        finally:
            signals.over.set()
        shown = other_end.result(timeout=PATIENCE_SECONDS)
    if not shown:
        sys.exit("nothing arrived; lower --loss")
    latencies, psnr, concealed = np.array(shown).T
    print(
        f"{stats.frames} frames sent, {stats.kbps:.1f} kbps; {network.lost} of {network.sent} datagrams lost; "
        f"{len(shown)} frames shown, {concealed.sum():.0f} of them made up or built on such; latency "
        f"{np.median(latencies):.0f} ms, 95 % below {np.percentile(latencies, 95):.0f} ms; PSNR-Y {psnr.mean():.2f} dB"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Hold a call."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", nargs="?", default="face", help="file, camera (/dev/video0) or face (face)")
    parser.add_argument("--out", default="call.y4m", help="where the received video goes (call.y4m)")
    parser.add_argument("--window", action="store_true", help="show it with ffplay instead")
    parser.add_argument("--seconds", type=float, default=10, help="how long the call lasts (10)")
    parser.add_argument("--height", type=int, default=256, help="rows that are coded, even (256)")
    parser.add_argument("-q", "--quality", type=float, default=25)
    parser.add_argument("--loss", type=float, default=2, help="percent of the datagrams that get lost (2)")
    parser.add_argument("--reorder", type=float, default=2, help="percent that come late (2)")
    parser.add_argument("--jitter", type=float, default=80, help="milliseconds to wait for what is missing (80)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    if not (0 < options.seconds <= MAX_SECONDS and 0 <= options.jitter <= 1000 * MAX_SECONDS):
        parser.error(f"--seconds and --jitter are lengths of time, up to {MAX_SECONDS} s")
    if not (0 <= options.loss <= 100 and 0 <= options.reorder <= 100):
        parser.error("--loss and --reorder are percentages, 0 to 100")
    if options.height < 16 or options.height % 2:
        parser.error("--height is even, 16 or more")
    if not options.window:
        with open(options.out, "wb") as target:
            call(options, target)
    elif player := shutil.which("ffplay"):
        line = [player, "-loglevel", "error", "-fflags", "nobuffer", "-f", "yuv4mpegpipe", "-i", "-", "-autoexit"]
        window = subprocess.Popen(line, stdin=subprocess.PIPE)
        with window.stdin or io.BytesIO() as target:
            call(options, target)
    else:
        sys.exit("ffplay is not installed; leave out --window, and look at the file")


if __name__ == "__main__":
    try:
        main()
    except (ImfError, OSError, av.error.FFmpegError) as problem:
        sys.exit(f"udp_call: {problem}")
