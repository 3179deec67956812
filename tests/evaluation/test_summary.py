"""The summary in Markdown, on curves whose answers are known."""

from dataclasses import replace

from imfcodec.evaluation.report import CODEC, COPY_KEY_FRAME, RatePoint
from imfcodec.evaluation.summary import summarise


def curve(rates, qualities, clip="a.mp4", codec="x264", model="-"):
    """Points with SSIM rising alongside PSNR."""
    values = {"frames": 250, "seconds": 10.0, "bytes": 0, "psnr_u": 40.0, "psnr_v": 41.0}
    return [
        RatePoint(
            clip,
            codec,
            f"s{index}",
            model,
            kbps=float(kbps),
            psnr_y=float(psnr),
            ssim_y=round(0.5 + psnr / 100, 5),
            encode_fps=20.0,
            decode_fps=100.0,
            **values,
        )
        for index, (kbps, psnr) in enumerate(zip(rates, qualities, strict=True))
    ]


X264 = curve([8, 16, 32], [28, 31, 34])


def test_summary_states_what_the_points_say():
    """Shares of clips, BD-rate with overlap, gain over the key frame, nearest pairs."""
    own = curve([4, 8, 16], [28, 31, 34], codec=CODEC, model="0123abcd")
    copies = [replace(p, codec=COPY_KEY_FRAME, psnr_y=20.0, kbps=1.0 + i) for i, p in enumerate(own)]
    elsewhere = curve([40, 80], [28, 31], clip="b.mp4")
    text = summarise([*X264, *elsewhere, *own, *copies])
    assert "31.00 / 0.810" in text and "28.00 / 0.780 (1 of 2)" in text
    assert "| x264 | imfcodec 0123abcd | -50.0 % (1 of 1, 28 to 34)" in text
    gain = "+3.00 / +0.030 (1 of 1)"
    assert f"| x264 | - | - | {gain} | {gain} | - | - |" in text.split("less others at equal rate", 1)[1]
    assert "| a.mp4 | 4.00 to 16.00 | 28.00 to 34.00 | 31.00 | +8.00 to +14.00 | yes |" in text
    assert "s1: 8.00 kbps, 31.00 dB, 0.810 | s0: 8.00 kbps, 28.00 dB, 0.780 | +3.00 | +0.030 |" in text
    assert "MS-SSIM" not in text


def test_summary_sets_us_against_the_envelope():
    """The best of a codec and its smaller versions is a rival like others, metric by metric."""
    own = curve([4, 8, 16], [28, 31, 34], codec=CODEC, model="0123abcd")
    whole, half = curve([8, 32], [27, 35], codec="x265"), curve([2, 4], [29, 31], codec="x265@1/2")
    text = summarise([*X264, *own, *whole, *half])
    assert "| x265 (envelope) |" in text.split("## BD-rate", 1)[0]
    assert "## BD-rate against x264" in text and "| x264 | x265 (envelope) |" in text
    _, ours = text.split("## BD-rate of imfcodec 0123abcd", 1)
    assert "| x265 (envelope) | imfcodec 0123abcd | +" in ours and "| x264 | imfcodec" not in ours


def test_summary_of_peers_alone():
    """Half a sweep can be summarised; codecs that share no quality say so."""
    text = summarise([*X264, *curve([1, 2], [20, 22], codec="x265")])
    assert "| x264 | x265 | no overlap | no overlap |" in text and "clip by clip" not in text
    assert "BD-rate" not in summarise(curve([1, 2], [20, 22], codec="x265")) + summarise(X264)
