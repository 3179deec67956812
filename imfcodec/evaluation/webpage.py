"""Pages that hold everything they show, scripts and videos included, and ask the browser to refuse any connection.

Their parts lie in `web/`: one frame, a body for each kind of page, style and scripts. They share the players and the
chart of bits. The scripts find their data as JSON in the page.
"""

import base64
import json
import math
import mimetypes
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from imfcodec.errors import UsageError

_SIGNIFICANT_DIGITS = 6


def fill_page(body: str, scripts: Sequence[str], parts: Mapping[str, str], data: Any, videos: str = "") -> bytes:
    """The page as it goes into a file.

    Args:
        body: its file in `web/`.
        scripts: theirs, in the order they run.
        parts: HTML for the places of the body that are its own, and `title`.
        data: plain values for the scripts; numbers that are not finite become null.
        videos: elements of `embed_video`.
    Raises:
        UsageError: plotly is not installed.
    """
    frame = {
        "title": parts["title"],
        "style": asset("page.css"),
        "body": Template(asset(body)).substitute(parts, player=asset("player.html")),
        "plotly": _plotly_script(),
        "videos": videos,
        "data": to_json(data),
        "scripts": "\n".join(map(asset, scripts)),
    }
    return Template(asset("frame.html")).substitute(frame).encode()


def asset(name: str) -> str:
    """A file of `web/`."""
    return (files("imfcodec.evaluation") / "web" / name).read_text(encoding="utf-8")


def embed_video(path: Path, identity: str) -> str:
    """A video as an element that `player.js` loads by its id; OSError where the file cannot be read."""
    kind = mimetypes.guess_type(path.name)[0] or "video/mp4"
    content = base64.b64encode(path.read_bytes()).decode()
    return f'<script type="text/plain" id="{identity}" data-type="{kind}">{content}</script>'


def embed_picture(png: bytes) -> str:
    """The address of a picture that holds the picture itself."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def to_json(value: Any) -> str:
    """JSON that may stand inside a script element."""
    return json.dumps(_rounded(value), separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _plotly_script() -> str:
    try:
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        raise UsageError("the page needs the package plotly; run pip install 'imfcodec[bench]'") from error
    script: str = get_plotlyjs()
    return script


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{_SIGNIFICANT_DIGITS}g}") if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list | tuple) else value
