"""The page of a benchmark: what it says is what the results hold, and it needs nothing outside itself."""

import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from imfcodec.errors import InputError
from imfcodec.evaluation.page import write_page
from imfcodec.evaluation.report import CODEC

pytest.importorskip("plotly")
pytest.importorskip("markdown")


def data_of(page):
    """What the page's scripts are handed."""
    return json.loads(re.search(r'id="data">(.*?)</script>', page.read_text(), re.DOTALL)[1])


class References(HTMLParser):
    """Collects what a page points to, and its policy."""

    def __init__(self):
        super().__init__()
        self.found, self.policy = [], ""

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.found += [attributes[name] for name in ("src", "href", "srcset", "data", "action") if name in attributes]
        if attributes.get("http-equiv") == "Content-Security-Policy":
            self.policy = attributes["content"]


def test_page_needs_nothing_outside_itself(page):
    """It points to its own parts alone, and the browser is told to fetch nothing."""
    references = References()
    references.feed(page.read_text())
    assert references.found and all(target.startswith("#") for target in references.found)
    assert references.policy.startswith("default-src 'none'") and "http" not in references.policy
    style = re.search(r"<style>(.*?)</style>", page.read_text(), re.DOTALL)[1]
    assert "url(" not in style and "@import" not in style


def test_page_draws_what_the_points_say(page):
    """Points as measured, means at rates both clips reach, the best of two sizes."""
    curves = data_of(page)["curves"]["psnr_y"]
    own = curves[f"{CODEC} 0123abcd"]
    assert own["clip a.mp4"] == {
        "kbps": [3, 6, 12, 24, 48],
        "value": [28, 30, 32, 34, 36],
        "setting": ["s0", "s1", "s2", "s3", "s4"],
    }
    assert own["equal rate"]["kbps"] == [4.5, 6, 9, 12, 18, 24, 36, 48]
    at_six = (30 + 28 + 2 * math.log2(6 / 4.5)) / 2
    assert own["equal rate"]["value"][1] == pytest.approx(at_six, rel=1e-5)
    assert own["setting"]["value"] == [28, 30, 32, 34, 36]
    assert own["setting"]["kbps"][0] == pytest.approx(3 * 1.5**0.5, rel=1e-5)
    best = curves["x265 (envelope)"]["clip a.mp4"]
    assert best["setting"] == ["s0 @1/2", "s1 @1/2", "s2 @1/2", "s2", "s3", "s4"]
    assert best["kbps"] == [3, 6, 12, 19.2, 38.4, 76.8]


def test_page_holds_the_summary(page):
    """The report's tables; names are no markup."""
    text = page.read_text()
    assert "Quality at given rates" in text and 'class="own"' in text
    assert "Bench &lt;of&gt; two clips" in text and "1 CPU &amp; more" in text
    assert "b &lt;b&gt;.mp4" in text and "b <b>" not in text


def test_metrics_that_no_point_holds_are_not_offered(bench, tmp_path):
    """One that some hold is drawn for those."""
    some = [replace(p, ms_ssim_y=p.ssim_y) if p.codec == "x264" else p for p in bench.points]
    write_page(tmp_path / "p.html", replace(bench, points=tuple(some), media=()))
    data = data_of(tmp_path / "p.html")
    assert [metric["name"] for metric in data["metrics"]] == ["psnr_y", "ssim_y", "ms_ssim_y", "psnr_u", "psnr_v"]
    drawn = {name for name, views in data["curves"]["ms_ssim_y"].items() if views["equal rate"]["kbps"]}
    assert drawn == {"x264"} and data["media"] == []


def test_video_that_is_gone_is_an_error(bench, tmp_path):
    """One line that names the file; no page is left."""
    lost = replace(bench.media[0], videos={"original": tmp_path / "lost.mp4"})
    with pytest.raises(InputError, match="lost"):
        write_page(tmp_path / "p.html", replace(bench, media=(lost,)))
    assert not list(tmp_path.iterdir())
