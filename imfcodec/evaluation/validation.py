"""Validation of a model file while it trains: whole clips through the codec, as a user meets it, in real bytes."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from imfcodec import api
from imfcodec.errors import UsageError
from imfcodec.evaluation.metrics import ComparisonReport, compare_frame_streams
from imfcodec.evaluation.sweep import cut_clip, find_clips
from imfcodec.frames import Frame, VideoFormat
from imfcodec.video.reader import open_clip
from imfcodec.video.writer import rgb_pixels

Pixels = npt.NDArray[np.uint8]

METRICS = ("psnr_y", "psnr_u", "psnr_v", "ssim_y")
PICTURED_CLIPS = 2


@dataclass(frozen=True)
class Validation:
    """What a model does on the validation clips.

    Attributes:
        figures: "val/q20/kbps" (whole files), "val/q20/psnr_y", ... (dB) and "val/q20/ssim_y" for each quality, means
            of the clips.
        pictures: "val/q20/NAME", uint8 RGB [H, 2 W, 3]: a frame of clip NAME, the original on the left, the decoded one
            on the right.
    """

    figures: dict[str, float]
    pictures: dict[str, Pixels]


@dataclass(frozen=True)
class Validator:
    """Validates model files.

    Attributes:
        clips: video files; the first ones are pictured.
        qualities: 0..100, each clip is coded at every one.
        frame_limit: only so many frames from the start of each clip are used.
        device: "auto", "cpu", "cuda" or "cuda:N".
    """

    clips: tuple[Path, ...]
    qualities: tuple[int, ...] = (5, 20, 45)
    frame_limit: int = 33
    device: str = "auto"

    def __call__(self, model: Path) -> Validation:
        """Code every clip at every quality with a model file and compare what comes back.

        Raises:
            ImfError: a clip cannot be read, or the model cannot code it.
        """
        figures: dict[str, float] = {}
        pictures: dict[str, Pixels] = {}
        with tempfile.TemporaryDirectory() as folder:
            sources = [Path(folder) / f"{number}.y4m" for number in range(len(self.clips))]
            for clip, source in zip(self.clips, sources, strict=True):
                cut_clip(clip, source, self.frame_limit)
            for quality in self.qualities:
                runs = [_code(source, model, quality, self.device) for source in sources]
                figures |= {f"val/q{quality}/{name}": value for name, value in _means(runs).items()}
                for clip, run in zip(self.clips[:PICTURED_CLIPS], runs, strict=False):
                    pictures[f"val/q{quality}/{clip.stem}"] = run.picture
        return Validation(figures, pictures)


def make_validator(places: Sequence[Path], device: str = "auto") -> Validator:
    """A validator of video files and of all those in folders.

    Raises:
        UsageError: a folder holds no video file, or no place is given.
        InputError: a file cannot be read.
    """
    clips = [clip for place in places for clip in (find_clips(place) if place.is_dir() else [place])]
    if not clips:
        raise UsageError("validation needs a video file or a folder of them")
    for clip in clips:  # said now rather than when training has run for a while
        open_clip(clip, audio=False).close()
    return Validator(tuple(clips), device=device)


@dataclass(frozen=True)
class _Run:
    """One clip coded once."""

    kbps: float
    report: ComparisonReport
    picture: Pixels


def _code(source: Path, model: Path, quality: int, device: str) -> _Run:
    stream = source.with_suffix(".imf")
    encoded = api.encode(source, stream, quality=quality, audio="none", model=str(model), device=device, overwrite=True)
    decoded = list(api.decode_frames(stream, model=str(model), device=device))
    with open_clip(source, audio=False) as clip:
        original, video = list(clip.frames()), clip.format
    return _Run(encoded.kbps, compare_frame_streams(original, decoded), _side_by_side(original, decoded, video))


def _side_by_side(original: Sequence[Frame], decoded: Sequence[Frame], video: VideoFormat) -> Pixels:
    index = len(original) // 3  # a token frame, as golden frames are 4, 8 or 16 apart and 11 of 33 lies between them
    return np.hstack([rgb_pixels(frames[index], video) for frames in (original, decoded)])


def _means(runs: Sequence[_Run]) -> dict[str, float]:
    means = {name: float(np.mean([getattr(run.report.mean, name) for run in runs])) for name in METRICS}
    return {"kbps": float(np.mean([run.kbps for run in runs])), **means}
