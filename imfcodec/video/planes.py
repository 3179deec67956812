"""The pixels of a PyAV frame as NumPy arrays, and FFmpeg's numbers for colour."""

import numpy as np
from av.video.plane import VideoPlane

from imfcodec.frames import Plane, VideoFormat

# AVCOL_RANGE_MPEG and AVCOL_RANGE_JPEG.
LIMITED_RANGE, FULL_RANGE = 1, 2


def view_plane(plane: VideoPlane) -> Plane:
    """Return a writable uint8 [height, width] view of one 8-bit plane; it is valid as long as its frame is."""
    rows = np.frombuffer(memoryview(plane), np.uint8)[: plane.height * plane.line_size]  # type: ignore[arg-type]
    return rows.reshape(plane.height, plane.line_size)[:, : plane.width]


def range_number(video: VideoFormat) -> int:
    """Return FFmpeg's number for the sample range of `video`."""
    return FULL_RANGE if video.colour.full_range else LIMITED_RANGE
