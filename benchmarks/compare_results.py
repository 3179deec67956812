"""BD-rate of our curve, clip by clip, against the other codecs of a table and against our curve of another table.

    python benchmarks/compare_results.py benchmarks/results/v0.3-dev/talk --before benchmarks/results/v0.2/talk

Prints a Markdown table, PSNR-Y / SSIM-Y in per cent, negative where ours needs less. x265 and SVT-AV1 stand for the
best of their sizes where the table has several.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from imfcodec.evaluation.report import CODEC, RatePoint, bd_rate, envelope, group_curves, read_table
from imfcodec.evaluation.summary import markdown_table

METRICS = ("psnr_y", "ssim_y")

ByClip = Mapping[str, Sequence[RatePoint]]


def curves_of(points: Sequence[RatePoint], codec: str, metric: str) -> ByClip:
    """Clip -> curve of a codec, of the best of its sizes where it has several."""
    best = envelope([point for point in points if point.codec.partition("@")[0] == codec], metric)
    chosen = best or [point for point in points if point.codec == codec]
    return next(iter(group_curves(chosen).values()), {})


def compare(points: Sequence[RatePoint], before: Sequence[RatePoint]) -> str:
    """The table."""
    peers = sorted({point.codec.partition("@")[0] for point in points} - {CODEC, "copy key frame"})
    rivals: dict[str, tuple[Sequence[RatePoint], str]] = {peer: (points, peer) for peer in peers}
    if before:
        rivals["before"] = (before, CODEC)
    clips = sorted(curves_of(points, CODEC, METRICS[0]))
    rows = []
    for clip in clips:
        cells = [" / ".join(_cell(points, rival, clip, metric) for metric in METRICS) for rival in rivals.values()]
        rows.append([clip, *cells])
    return markdown_table(["clip", *rivals], rows)


def _cell(points: Sequence[RatePoint], rival: tuple[Sequence[RatePoint], str], clip: str, metric: str) -> str:
    anchor = curves_of(*rival, metric).get(clip, ())
    percent = bd_rate(anchor, curves_of(points, CODEC, metric)[clip], metric).percent
    return "-" if percent is None else f"{percent:+.0f} %"


def main() -> None:
    """Read the tables and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path, help="folder with results.tsv")
    parser.add_argument("--before", type=Path, help="folder with the results.tsv of another version")
    arguments = parser.parse_args()
    before = read_table(arguments.before / "results.tsv").points if arguments.before else ()
    print(compare(read_table(arguments.table / "results.tsv").points, before))


if __name__ == "__main__":
    main()
