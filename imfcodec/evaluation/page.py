"""The results of a benchmark as one HTML file: curves, tables, players at matched rate, bits over time.

See `webpage` for what its parts are; the scripts draw what `_page_data` hands them as JSON.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from html import escape
from pathlib import Path
from typing import Any

from imfcodec.errors import InputError, UsageError
from imfcodec.evaluation.curves import (
    CurvePoint,
    Metric,
    clip_curve,
    draw_curves,
    known_metrics,
    list_series,
    mean_at_equal_rate,
    mean_by_setting,
)
from imfcodec.evaluation.report import CODEC, ENVELOPE, RatePoint
from imfcodec.evaluation.results import BenchResult, ClipMedia
from imfcodec.evaluation.summary import summarise
from imfcodec.evaluation.webpage import embed_video, fill_page
from imfcodec.files import write_beside

SCRIPTS = ("base.js", "curves.js", "player.js", "spending.js", "page.js")
LONGEST_OPEN_TABLE = 30
# A number with a remark in brackets: "28.77 / 0.826 (8 of 21)".
_REMARK = re.compile(r"<td>([-+\d][^<(]*) \(([^<]+)\)</td>")
_OWN_ROW = re.compile(rf"<tr>(\s*<td[^>]*>{CODEC}\b)")


def write_page(path: Path, bench: BenchResult) -> None:
    """Write the page; replaces the file in one step.

    Args:
        path: the .html file.
        bench: results; `media` may be empty and metrics may be missing, the page then says so.
    Raises:
        UsageError: plotly or markdown is not installed.
        InputError: a video of the media cannot be read.
    """
    parts = {
        "title": escape(bench.title),
        "environment": escape(bench.environment),
        "tables": _tables(bench.points),
    }
    page = fill_page("page.html", SCRIPTS, parts, _page_data(bench), "\n".join(_embedded_videos(bench.media)))
    with write_beside(path) as file:
        file.write(page)


def _tables(points: Sequence[RatePoint]) -> str:
    """The report's Markdown summary as HTML; long tables are folded."""
    try:
        from markdown import markdown
    except ImportError as error:
        raise UsageError("the page needs the package markdown; run pip install 'imfcodec[bench]'") from error
    if not points:
        return "<p>This run holds no results.</p>"
    sections = re.split(r"^## ", summarise(points), flags=re.MULTILINE)[1:]
    return "\n".join(_section(markdown, *section.split("\n", 1)) for section in sections)


def _section(to_html: Callable[..., str], title: str, text: str) -> str:
    # Names of clips are not markup.
    body = to_html(escape(text, quote=False), extensions=["tables"])
    body = _REMARK.sub(r"<td>\1 <small>\2</small></td>", body)
    body = _OWN_ROW.sub(r'<tr class="own">\1', body)
    label = escape(title)
    body = body.replace("<table>", f'<div class="scroll" role="region" tabindex="0" aria-label="{label}"><table>')
    body = body.replace("</table>", "</table></div>")
    is_open = "" if body.count("<tr") > LONGEST_OPEN_TABLE else " open"
    return f"<details{is_open}><summary><h3>{label}</h3></summary>{body}</details>"


def _embedded_videos(media: Sequence[ClipMedia]) -> Iterable[str]:
    for index, clip in enumerate(media):
        for place, path in enumerate(clip.videos.values()):
            try:
                yield embed_video(path, _video_id(index, place))
            except OSError as error:
                raise InputError(f"{path}: cannot be read ({error.strerror}); run the benchmark again") from error


def _video_id(clip: int, place: int) -> str:
    return f"video-{clip}-{place}"


def _page_data(bench: BenchResult) -> dict[str, Any]:
    metrics = known_metrics(bench.points)
    clips = list(dict.fromkeys(point.clip for point in bench.points))
    return {
        "clips": clips,
        "metrics": [{**asdict(metric), "axisTitle": metric.axis_title} for metric in metrics],
        "series": [asdict(series) for series in list_series(bench.points)],
        "curves": {metric.name: _metric_curves(bench.points, metric) for metric in metrics},
        "points": [{"series": point.series, **asdict(point)} for point in bench.points],
        "media": [_media_entry(index, clip) for index, clip in enumerate(bench.media)],
    }


def _metric_curves(points: Sequence[RatePoint], metric: Metric) -> dict[str, dict[str, Any]]:
    """Name of the series -> view -> columns; the views are "equal rate", "setting" and "clip NAME"."""
    return {
        name: {
            "equal rate": _columns(mean_at_equal_rate(clips, metric)),
            # The settings on an envelope differ from clip to clip.
            "setting": _columns([] if name.endswith(ENVELOPE) else mean_by_setting(clips, metric)),
            **{f"clip {clip}": _columns(clip_curve(curve, metric)) for clip, curve in clips.items()},
        }
        for name, clips in draw_curves(points, metric).items()
    }


def _columns(points: Sequence[CurvePoint]) -> dict[str, list[Any]]:
    return {
        "kbps": [point.kbps for point in points],
        "value": [point.value for point in points],
        "setting": [point.setting for point in points],
    }


def _media_entry(index: int, media: ClipMedia) -> dict[str, Any]:
    videos = [
        {"name": name, "caption": media.captions.get(name, ""), "id": _video_id(index, place)}
        for place, name in enumerate(media.videos)
    ]
    return {
        "clip": media.clip,
        "frameRate": media.frame_rate,
        "frames": media.frames,
        "videos": videos,
        "spending": [dict(packet) for packet in media.spending],
    }
