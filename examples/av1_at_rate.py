"""AV1 at the rate of an .imf stream, to be played beside it: SVT-AV1 with the settings of `imfcodec bench`.

    imfcodec encode -q 30 in.mp4 out.imf
    python examples/av1_at_rate.py in.mp4 out.imf av1.mp4
    imfcodec page out.imf site --beside original=in.mp4 --beside AV1=av1.mp4

Coded at full, half and a quarter of the size, each at the lowest rate factor that takes no more bytes than the stream
without its sound; the one of highest PSNR-Y at full size is kept. Where none gets so low, the smallest is. Holds the
whole video in memory, and encodes it some twenty times. Sides must be even.
"""

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import av

from imfcodec import api
from imfcodec.errors import ImfError, UsageError
from imfcodec.evaluation.metrics import compare_frame_streams
from imfcodec.files import check_distinct, check_target
from imfcodec.frames import Frame, VideoFormat
from imfcodec.video.peercodecs import find_peer_codec
from imfcodec.video.planes import range_number, to_picture
from imfcodec.video.reader import open_clip
from imfcodec.video.scaling import rescale

PEER = "svt-av1-p2"
DIVISORS = (1, 2, 4)  # of width and height


class Coded(NamedTuple):
    """A video as it was coded: the file, bytes of its pictures, rate factor, size and likeness (dB) at full size."""

    path: Path
    size: int
    crf: int
    shape: tuple[int, int]
    psnr: float


def encode(path: Path, frames: Sequence[Frame], video: VideoFormat, crf: int) -> int:
    """Write pictures of one size as AV1 in .mp4, evenly spaced; bytes of the coded pictures."""
    peer, size = find_peer_codec(PEER), 0
    os.environ.setdefault("SVT_LOG", "1")  # it prints its settings on stderr otherwise
    with av.open(str(path), "w") as container:
        stream = container.add_stream(peer.encoder, video.frame_rate, {**peer.options, "crf": str(crf)})
        context = stream.codec_context
        context.height, context.width = frames[0].y.shape
        context.pix_fmt, context.time_base, context.thread_count = "yuv420p", 1 / video.frame_rate, 1
        context.sample_aspect_ratio = video.sample_aspect
        context.color_primaries, context.color_trc = video.colour.primaries, video.colour.transfer
        context.colorspace, context.color_range = video.colour.matrix, range_number(video)
        if video.rotation:
            stream.set_display_rotation(-video.rotation)  # FFmpeg turns counter-clockwise
        pictures = [to_picture(frame, number) for number, frame in enumerate(frames)]
        for picture in [*pictures, None]:
            for packet in stream.encode(picture):
                size += len(peer.trim(bytes(packet)))
                container.mux(packet)
    return size


def encode_within(folder: Path, frames: Sequence[Frame], video: VideoFormat, divisor: int, most: int) -> Coded:
    """The best there is at a size in so many bytes; in more where the highest rate factor takes more."""
    width, height = (2 * max(1, round(side / (2 * divisor))) for side in (video.width, video.height))
    small = frames if divisor == 1 else rescale(frames, width, height)
    path = folder / f"{divisor}.mp4"
    low, high = 0, find_peer_codec(PEER).max_crf  # the lowest factor that fits lies between them
    while low < high:
        middle = (low + high) // 2
        if encode(path, small, video, middle) > most:
            low = middle + 1
        else:
            high = middle
    size = encode(path, small, video, low)
    with open_clip(path, audio=False) as clip:
        shown = rescale(clip.frames(), video.width, video.height)
    return Coded(path, size, low, (width, height), compare_frame_streams(frames, shown, video).mean.psnr_y)


def encode_at_rate(source: str, stream: str, target: str, *, overwrite: bool) -> str:
    """Write AV1 at the rate of a stream; a line about what it took."""
    check_distinct([source, stream], [target])
    check_target(target, overwrite=overwrite)
    summary = api.probe(stream)
    most = summary.size_bytes - summary.bytes_by_kind["audio"]
    with open_clip(source, audio=False) as clip, tempfile.TemporaryDirectory() as folder:
        frames, video = list(clip.frames()), clip.format
        if video.width % 2 or video.height % 2:
            raise UsageError(
                f"{source}: {video.width}x{video.height} has an odd side, which SVT-AV1 does not take; crop it"
            )
        tried = [encode_within(Path(folder), frames, video, divisor, most) for divisor in DIVISORS]
        fitting = [coded for coded in tried if coded.size <= most]
        best = max(fitting, key=lambda coded: coded.psnr) if fitting else min(tried, key=lambda coded: coded.size)
        shutil.copyfile(best.path, target)
    width, height = best.shape
    return f"{width}x{height}, crf {best.crf}: {best.size} bytes (the stream {most}), {best.psnr:.2f} dB PSNR-Y"


def main() -> None:
    """Encode, and print a line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", help="the video the stream was made of")
    parser.add_argument("stream", help=".imf file")
    parser.add_argument("target", help=".mp4 file")
    parser.add_argument("-y", "--overwrite", action="store_true", help="overwrite an existing file")
    arguments = parser.parse_args()
    try:
        print(encode_at_rate(arguments.source, arguments.stream, arguments.target, overwrite=arguments.overwrite))
    except ImfError as error:
        sys.exit(f"av1_at_rate: {error}")


if __name__ == "__main__":
    main()
