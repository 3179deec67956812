"""A stream as a page: bits and quality over time by kind of frame, and pictures of it."""

import itertools
from collections.abc import Generator
from contextlib import ExitStack, closing
from dataclasses import asdict, replace
from html import escape
from pathlib import Path
from typing import Any

from imfcodec import api
from imfcodec.bitstream.container import StreamReader, StreamSummary
from imfcodec.errors import UsageError
from imfcodec.evaluation.quality import psnr, ssim_gaussian
from imfcodec.evaluation.spending import KEY, PARTS, FrameSpending, add_outside, spending_of_packets
from imfcodec.evaluation.webpage import embed_picture, fill_page
from imfcodec.files import check_distinct, open_input, write_beside
from imfcodec.frames import Frame, VideoFormat
from imfcodec.limits import DEFAULT_LIMITS, Limits
from imfcodec.video.reader import open_clip
from imfcodec.video.scaling import rescale
from imfcodec.video.writer import png_bytes
from imfcodec.zoo import load_model, load_model_by_id

SCRIPTS = ("base.js", "spending.js", "inspection.js")
PICTURES = 12  # evenly over the video, and as many key frames at most
_PICTURE_HEIGHT = 96


def write_inspection(
    stream: str | Path,
    target: str | Path,
    *,
    reference: str | Path | None = None,
    model: str | None = None,
    limits: Limits = DEFAULT_LIMITS,
    overwrite: bool = False,
) -> None:
    """Write a page about a stream; decodes it on the CPU.

    Args:
        stream: an .imf file.
        target: the .html file.
        reference: the video it was made of: the page then shows PSNR and SSIM of every frame, else quantisers alone.
        model: name or path; None finds the one the stream names.
        limits: what stream and reference may ask for at most.
        overwrite: replace an existing page.
    Raises:
        UsageError: plotly is not installed, the target exists, or the reference is another video.
        ImfError: stream or reference cannot be read.
    """
    check_distinct([stream, reference], [target])
    with write_beside(target, overwrite=overwrite) as file:
        summary = api.probe(stream, limits=limits)
        data = inspect(stream, summary, reference=reference, model=model, limits=limits)
        parts = {"title": escape(Path(stream).name), "about": escape(_about(summary))}
        file.write(fill_page("inspection.html", SCRIPTS, parts, data))


def inspect(
    stream: str | Path,
    summary: StreamSummary,
    *,
    reference: str | Path | None = None,
    model: str | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> dict[str, Any]:
    """What the page shows, as plain values.

    Args:
        summary: of the stream, as `api.probe` gives it.
    Returns:
        "frames": one a frame: "seconds", "kind", "bits", "qindex", and "psnr_y", "ssim_y" with a reference;
        "media": as the chart of the bench page wants it, a packet a row; "pictures": "seconds", "kind" and "source".
    """
    header = summary.header
    chosen = _evenly(summary.total_frames)
    frames: list[dict[str, Any]] = []
    packets: list[dict[str, float]] = []
    pictures: list[dict[str, Any]] = []
    keys = 0
    with ExitStack() as stack:
        originals = stack.enter_context(closing(_originals(reference, header.format, limits)))
        reader = StreamReader(stack.enter_context(open_input(stream)))
        loaded = load_model(model) if model else load_model_by_id(header.model_id)
        for spending, decoded in spending_of_packets(reader, loaded):
            start = len(frames)
            for frame, cost in zip(decoded, spending.frames, strict=True):
                keys += cost.kind == KEY
                if len(frames) in chosen or (cost.kind == KEY and keys <= PICTURES):
                    pictures.append(_picture(frame, cost, header.format))
                frames.append(_row(frame, cost, header.format, next(originals)))
            seconds = frames[start]["seconds"]
            duration = len(decoded) / float(header.format.frame_rate)
            packets.append({"start": seconds, "duration": duration, **spending.parts})
    sound = 8 * summary.bytes_by_kind.get("audio", 0)
    add_outside(packets, 8 * summary.size_bytes - sound)
    media = {
        "clip": Path(stream).name,
        "frameRate": float(header.format.frame_rate),
        "frames": len(frames),
        "spending": packets,
    }
    return {"media": media, "frames": frames, "pictures": pictures, "soundBits": sound, "parts": PARTS}


def _evenly(count: int) -> set[int]:
    return {round(part * (count - 1) / (PICTURES - 1)) for part in range(PICTURES)}


def _row(frame: Frame, cost: FrameSpending, video: VideoFormat, original: Frame | None) -> dict[str, Any]:
    row = {"seconds": _seconds(frame, video), **asdict(cost)}
    if original is not None:
        row |= {"psnr_y": psnr(original.y, frame.y), "ssim_y": ssim_gaussian(original.y, frame.y)}
    return row


def _seconds(frame: Frame, video: VideoFormat) -> float:
    return float(frame.pts * video.time_base)


def _picture(frame: Frame, cost: FrameSpending, video: VideoFormat) -> dict[str, Any]:
    height = min(_PICTURE_HEIGHT, video.height - video.height % 2)
    width = max(2, 2 * round(video.width * height / video.height / 2))
    small = rescale([frame], width, height)[0]
    png = png_bytes(small, replace(video, width=width, height=height))
    return {"seconds": _seconds(frame, video), "kind": cost.kind, "source": embed_picture(png)}


def _originals(reference: str | Path | None, video: VideoFormat, limits: Limits) -> Generator[Frame | None, None, None]:
    """The frames of the reference one by one, None for each without one."""
    if reference is None:
        yield from itertools.repeat(None)
        return
    with open_clip(reference, audio=False, limits=limits) as clip:
        if (clip.format.width, clip.format.height) != (video.width, video.height):
            sizes = f"{clip.format.width}x{clip.format.height}, the stream {video.width}x{video.height}"
            raise UsageError(f"{reference} is {sizes}; give the video the stream was made of")
        yield from clip.frames()
    raise UsageError(f"{reference} has fewer frames than the stream; give the video the stream was made of")


def _about(summary: StreamSummary) -> str:
    video = summary.header.format
    kbps = summary.size_bytes * 8 / 1000 / summary.duration_seconds if summary.duration_seconds else 0.0
    size = f"{video.width}x{video.height}, {float(video.frame_rate):.4g} frames per second"
    length = f"{summary.total_frames} frames ({summary.key_frames} key frames), {summary.duration_seconds:.2f} s"
    return f"{size}, {length}, {summary.size_bytes} bytes, {kbps:.2f} kbps"
