"""Hand-made results of a benchmark, with tiny drawn videos."""

from fractions import Fraction

from imfcodec.evaluation.report import CODEC, COPY_KEY_FRAME, RatePoint
from imfcodec.evaluation.results import BenchResult, ClipMedia
from imfcodec.evaluation.synthetic import talking_face, talking_face_format
from imfcodec.frames import Frame
from imfcodec.video.writer import open_writer

SIDE, FRAMES, RATE = 64, 12, 25
CHANGE = 12
"""By how much the coded copies are brighter and darker than the original."""
MARK = 16
"""Side of the square, top left, whose brightness tells the number of a frame."""
FIRST_MARK, MARK_STEP = 40, 15


def curve(codec, kbps, psnr_y, clip="a.mp4", model="-"):
    """A clip's points of one codec; SSIM follows PSNR."""
    return [
        RatePoint(
            clip=clip,
            codec=codec,
            setting=f"s{index}",
            model=model,
            frames=FRAMES,
            seconds=FRAMES / RATE,
            bytes=round(rate * 125 * FRAMES / RATE),
            kbps=rate,
            psnr_y=quality,
            ssim_y=0.5 + quality / 100,
            psnr_u=40.0,
            psnr_v=41.0,
            encode_fps=20.0,
            decode_fps=100.0,
        )
        for index, (rate, quality) in enumerate(zip(kbps, psnr_y, strict=True))
    ]


def two_clips():
    """Points of two clips: our codec, repeating its key frame, a peer, and one that also codes at half size."""
    found = []
    for clip, factor in (("a.mp4", 1.0), ("b <b>.mp4", 1.5)):
        ladder = [factor * kbps for kbps in (3, 6, 12, 24, 48)]
        found += curve(CODEC, ladder, [28, 30, 32, 34, 36], clip, model="0123abcd")
        found += curve(COPY_KEY_FRAME, [kbps / 4 for kbps in ladder], [21, 21.2, 21.3, 21.4, 21.5], clip, "0123abcd")
        found += curve("x264", [2 * kbps for kbps in ladder], [27, 30, 33, 36, 39], clip)
        found += curve("x265", [1.6 * kbps for kbps in ladder], [27, 30, 33, 36, 39], clip)
        found += curve("x265@1/2", ladder, [27.5, 29.5, 31, 32, 32.5], clip)
    return tuple(found)


def write_media(folder):
    """Twelve frames to look at, as MP4: the original and two worse copies, the number of the frame in a corner."""
    video = talking_face_format(SIDE, SIDE, Fraction(RATE))
    for change in (0, CHANGE, -CHANGE):
        with open_writer(folder / f"{change}.mp4", video) as writer:
            for index, frame in enumerate(talking_face(video, FRAMES)):
                writer.write(marked(frame, index, change))
    spending = [{"start": 0.0, "duration": 0.04, "key": 5200, "latent": 0, "golden_token": 0, "token": 0, "other": 96}]
    spending += [
        {
            "start": 0.04 + 0.16 * i,
            "duration": 0.16,
            "key": 0,
            "latent": 900 - 90 * i,
            "golden_token": 60,
            "token": 210 + 130 * i,
        }
        for i in range(3)
    ]
    return ClipMedia(
        clip="a.mp4",
        videos={"original": folder / "0.mp4", CODEC: folder / f"{CHANGE}.mp4", "x265@1/2": folder / f"{-CHANGE}.mp4"},
        captions={"original": "as it was", CODEC: "q20: 6.0 kbps, 30.0 dB", "x265@1/2": "crf40: 6.0 kbps, 29.5 dB"},
        frame_rate=float(RATE),
        frames=FRAMES,
        spending=spending,
    )


def marked(frame, index, change):
    """The frame with its number in the corner and everything else brighter by `change`."""
    y = (frame.y.astype(int) + change).clip(16, 235).astype("uint8")
    y[:MARK, :MARK] = FIRST_MARK + MARK_STEP * index
    return Frame(y, frame.u, frame.v, frame.pts)


def sample_bench(folder):
    """Results with everything in them; videos go to the folder."""
    return BenchResult("Bench <of> two clips", "1 CPU & more", two_clips(), (write_media(folder),))
