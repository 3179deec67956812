"""The page in a headless Chromium and Firefox: pictures come, and the controls do what they say."""

import threading
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from imfcodec import api
from imfcodec.frames import Frame
from imfcodec.video.writer import open_writer
from imfcodec.web.pages import write_page
from imfcodec.web.serving import PageServer

BITSTREAMS = Path(__file__).parents[2] / "bitstreams"
CHUNKS = BITSTREAMS / "valid" / "chunks.imf"
NAMES = ("valid/chunks", "uncommon/rotation-90", "faulty/no-end", "faulty/checksum")
PATIENCE_SECONDS = 60


@pytest.fixture(scope="module")
def url(runtime, exported, tmp_path_factory):
    """Address of a page with some conformance streams."""
    folder = tmp_path_factory.mktemp("web") / "page"
    write_page([BITSTREAMS / f"{name}.imf" for name in NAMES], folder, model=exported, runtime=runtime, conceal=True)
    with served(folder) as url:
        yield url


@contextmanager
def served(folder):
    with PageServer(folder) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.url
        server.shutdown()


class Tab:
    """The page in the browser, and what the tests ask of it."""

    def __init__(self, driver, url):
        self.driver = driver
        driver.get_log("browser")
        driver.get(url)
        self.wait("document.body.dataset.state === 'paused' && !document.body.classList.contains('waiting')")

    def run(self, script):
        return self.driver.execute_script(script)

    def wait(self, condition):
        from selenium.webdriver.support.wait import WebDriverWait

        WebDriverWait(self.driver, PATIENCE_SECONDS, poll_frequency=0.05).until(
            lambda driver: driver.execute_script(f"return Boolean({condition})"), f"never true: {condition}"
        )

    def press(self, key):
        self.run(f"dispatchEvent(new KeyboardEvent('keydown', {{ key: '{key}' }}))")

    def choose_speed(self, speed):
        self.run(f"speed.value = {speed}; speed.dispatchEvent(new Event('change'))")

    def wait_for_picture(self):
        self.wait("!document.body.classList.contains('waiting')")
        return self.run("return picture.toDataURL()")

    def choose(self, number):
        self.run(f"streams.selectedIndex = {number}; streams.dispatchEvent(new Event('change'))")
        self.wait("document.body.dataset.state === 'paused' && !document.body.classList.contains('waiting')")


def test_it_plays_seeks_steps_and_turns(any_browser, url):
    tab = Tab(any_browser, url)
    assert tab.run("return crossOriginIsolated && document.getElementById('message').textContent === ''")
    first = tab.wait_for_picture()
    tab.press(".")
    second = tab.wait_for_picture()
    assert second != first
    tab.press("End")
    assert tab.wait_for_picture() not in (first, second)
    tab.press("Home")
    assert tab.wait_for_picture() == first
    tab.choose_speed(0.25)
    tab.press(" ")
    tab.wait("document.body.dataset.state === 'playing'")
    tab.wait("document.body.dataset.state === 'paused'")
    assert tab.run("return Math.abs(seek.value - seek.max) < 1e-6 && live.textContent.includes('kbps')")
    tab.choose(1)
    assert tab.run("return [picture.width, picture.height]") == [64, 64]
    assert [line for line in tab.driver.get_log("browser") if line["level"] == "SEVERE"] == []


def test_a_damaged_stream_says_so_and_what_came_before_plays(any_browser, url):
    tab = Tab(any_browser, url)
    tab.choose(2)
    assert "damaged" in tab.run("return message.textContent")
    tab.run("streams.selectedIndex = 3; streams.dispatchEvent(new Event('change'))")
    tab.wait("document.body.dataset.state === 'failed'")
    assert tab.run("return message.textContent") == "checksum.imf: a checksum does not match"


STEP, DARKEST = 12, 40  # luma of the frames of videos that are shown beside a stream


def write_greys(path, count, video):
    """A video whose frames tell their number by how bright they are."""
    with open_writer(path, video) as writer:
        for number in range(count):
            grey = np.full((video.height, video.width), DARKEST + STEP * number, np.uint8)
            chroma = np.full((video.height // 2, video.width // 2), 128, np.uint8)
            writer.write(Frame(grey, chroma, chroma, number))


GREYS = """
const copy = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
return [...document.querySelectorAll("video")].map((video) => {
  copy.drawImage(video, 0, 0, 1, 1);
  return copy.getImageData(0, 0, 1, 1).data[0];
});
"""


WATCH = """
window.watched = [];
document.querySelector("video").addEventListener("timeupdate", ({ target }) => {
  if (!target.paused) watched.push([target.currentTime, Number(seek.value), target.playbackRate]);
});
"""
PLAYS_H264 = "return document.createElement('video').canPlayType('video/mp4; codecs=\"avc1.640028\"')"


def shown_frames(tab):
    """Numbers of the frames that the videos show, once they stand."""
    tab.wait("[...document.querySelectorAll('video')].every((v) => v.readyState > 1 && v.paused && !v.seeking)")
    return [round(((grey * 219 / 255 + 16) - DARKEST) / STEP) for grey in tab.run(GREYS)]


def test_videos_beside_the_stream_keep_to_its_clock(any_browser, runtime, exported, tmp_path):
    """A longer one is cut at its end, a shorter one stays at its last picture, one of another size fits in."""
    summary = api.probe(CHUNKS)
    frames, video = summary.total_frames, summary.header.format
    write_greys(tmp_path / "long.mp4", frames + 5, video)
    write_greys(tmp_path / "short.mkv", frames - 3, video)
    said, videos = [], {'the "original" <b>\n': tmp_path / "long.mp4", "short": tmp_path / "short.mkv"}
    write_page([CHUNKS], tmp_path / "page", model=exported, runtime=runtime, beside=videos, say=said.append)
    assert [line.endswith(end) for line, end in zip(said, ("is left out", "picture stays"), strict=True)] == [True] * 2
    with served(tmp_path / "page") as url:
        tab = Tab(any_browser, url)
        if not tab.run(PLAYS_H264):
            pytest.skip("this browser has no H.264; for Firefox on Debian: apt-get install libavcodec59")
        assert shown_frames(tab) == [0, 0]
        captions = tab.run("return [...document.querySelectorAll('figcaption')].map((caption) => caption.textContent)")
        assert captions[0].startswith("imfcodec: ") and captions[1].startswith('the "original" <b>\n: ')
        assert all(caption.endswith(" kbps") for caption in captions)
        for number in (1, 2):
            tab.press(".")
            tab.wait_for_picture()
            assert shown_frames(tab) == [number] * 2
        tab.press("End")
        tab.wait_for_picture()
        assert shown_frames(tab) == [frames - 1, frames - 4]
        tab.press(",")
        tab.wait_for_picture()
        assert shown_frames(tab) == [frames - 2, frames - 4]
        tab.press("Home")
        tab.wait_for_picture()
        tab.choose_speed(0.25)
        tab.run(WATCH)
        tab.press(" ")
        tab.wait("document.body.dataset.state === 'playing' || watched.length")
        tab.wait("document.body.dataset.state === 'paused'")
        watched = tab.run("return watched")
        assert watched and all(abs(time - clock) < 0.2 and 0.125 <= rate <= 0.5 for time, clock, rate in watched)
        assert shown_frames(tab) == [frames - 1, frames - 4]
        assert [line for line in tab.driver.get_log("browser") if line["level"] == "SEVERE"] == []
        tab.run(
            "const data = new DataTransfer(); data.items.add(new File(['no'], 'no.imf'));"
            "dispatchEvent(new DragEvent('drop', { dataTransfer: data }))"
        )
        tab.wait("document.body.dataset.state === 'failed'")
        assert tab.run("return document.querySelectorAll('video').length") == 0, "they belong to the stream before"
