"""The pixels of a PyAV frame as NumPy arrays, and FFmpeg's numbers for colour."""

import av
import numpy as np
from av.video.plane import VideoPlane

from imfcodec.frames import Frame, Plane, VideoFormat

# AVCOL_RANGE_MPEG and AVCOL_RANGE_JPEG.
LIMITED_RANGE, FULL_RANGE = 1, 2


def view_plane(plane: VideoPlane) -> Plane:
    """Return a writable uint8 [height, width] view of one 8-bit plane; it is valid as long as its frame is."""
    rows = np.frombuffer(memoryview(plane), np.uint8)[: plane.height * plane.line_size]  # type: ignore[arg-type]
    return rows.reshape(plane.height, plane.line_size)[:, : plane.width]


def to_picture(frame: Frame, pts: int) -> av.VideoFrame:
    """Copy a frame into a yuv420p picture of PyAV's, with a time stamp of its own."""
    height, width = frame.y.shape
    picture = av.VideoFrame(width, height, "yuv420p")
    for plane, samples in zip(picture.planes, (frame.y, frame.u, frame.v), strict=True):
        view_plane(plane)[:] = samples
    picture.pts = pts
    return picture


def from_picture(picture: av.VideoFrame, pts: int) -> Frame:
    """Copy a yuv420p picture of PyAV's into a frame, with a time stamp of its own."""
    y, u, v = (view_plane(plane).copy() for plane in picture.planes)
    return Frame(y, u, v, pts)


def range_number(video: VideoFormat) -> int:
    """Return FFmpeg's number for the sample range of `video`."""
    return FULL_RANGE if video.colour.full_range else LIMITED_RANGE
