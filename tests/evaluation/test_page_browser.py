"""The page of a benchmark in a real browser: curves, players, wipe, single frames and differences work."""

import contextlib
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest
from bench_samples import CHANGE, FIRST_MARK, FRAMES, MARK, MARK_STEP

from imfcodec.evaluation.page import write_page

pytest.importorskip("plotly")
pytest.importorskip("markdown")

SCREENSHOTS = "IMFCODEC_SCREENSHOTS"
"""Environment variable: a folder to keep the browser's screenshots in."""
PATIENCE_SECONDS = 60


class Tab:
    """A page in the browser, and the questions the tests ask of it."""

    def __init__(self, driver, path):
        self.driver = driver
        driver.get_log("browser")
        driver.get(path.as_uri())

    def run(self, script, *arguments):
        """Value of a piece of JavaScript."""
        return self.driver.execute_script(script, *arguments)

    def wait(self, condition):
        """Until a JavaScript expression is true."""
        from selenium.webdriver.support.wait import WebDriverWait

        WebDriverWait(self.driver, PATIENCE_SECONDS, poll_frequency=0.05).until(
            lambda driver: driver.execute_script(f"return Boolean({condition})"), f"never true: {condition}"
        )

    def press(self, key):
        """Press a key on the players' stage."""
        self.driver.find_element("id", "stage").send_keys(key)

    def choose(self, select, value):
        """Choose an option as a person does."""
        script = "const s = document.getElementById(arguments[0]); s.value = arguments[1];"
        self.run(script + "s.dispatchEvent(new Event('change'));", select, value)

    def pixel(self, side, x, y):
        """Mean of red, green and blue of a pixel of the left or right canvas."""
        script = """
            const copy = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
            copy.drawImage(document.getElementById(arguments[0]), arguments[1], arguments[2], 1, 1, 0, 0, 1, 1);
            return [...copy.getImageData(0, 0, 1, 1).data];
        """
        return sum(self.run(script, f"{side}-canvas", x, y)[:3]) / 3

    def shown_frame(self, side="left"):
        """Number of the frame on a canvas, from 0, as its corner says."""
        luma = self.pixel(side, MARK // 2, MARK // 2) * 219 / 255 + 16
        return round((luma - FIRST_MARK) / MARK_STEP)

    def problems(self):
        """What the console complained of, and what was fetched from elsewhere."""
        console = [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] != "INFO"]
        fetched = self.run("return performance.getEntriesByType('resource').map((entry) => entry.name)")
        return console + [name for name in fetched if not name.startswith("blob:")]

    def keep_screenshot(self, folder, name):
        """Save the whole page as PNG, where the environment asks for it or else in `folder`."""
        folder = Path(os.environ.get(SCREENSHOTS) or folder)
        folder.mkdir(parents=True, exist_ok=True)
        height = self.run("return document.documentElement.scrollHeight")
        self.driver.set_window_size(1200, height + 150)
        self.driver.save_screenshot(str(folder / f"{name}.png"))
        assert (folder / f"{name}.png").stat().st_size > 10_000


@pytest.fixture
def tab(browser, page):
    """The full page, opened and ready."""
    opened = Tab(browser, page)
    opened.wait("document.getElementById('position').textContent")
    yield opened
    assert opened.problems() == []


@contextlib.contextmanager
def dark(driver):
    """The browser of somebody who prefers dark pages."""
    command = "Emulation.setEmulatedMedia"
    driver.execute_cdp_cmd(command, {"features": [{"name": "prefers-color-scheme", "value": "dark"}]})
    yield
    driver.execute_cdp_cmd(command, {"features": []})


def test_curves_are_drawn(tab, tmp_path):
    """One line a series, another metric and view on request, in both themes."""
    count = "document.querySelectorAll('#curves .scatterlayer .trace').length"
    # Ours, the key frame repeated, x264: a mean at equal rate and one by setting; the envelope has the first only.
    assert tab.run(f"return {count}") == 3 * 2 + 1
    tab.keep_screenshot(tmp_path, "light")
    tab.choose("metric", "ssim_y")
    assert "SSIM-Y" in tab.run("return document.querySelector('#curves .ytitle').textContent")
    tab.choose("view", "clip a.mp4")
    assert tab.run("return document.querySelectorAll('#curves .scatterlayer .point').length") == 3 * 5 + 6
    assert tab.run("return document.querySelectorAll('#spending .bars path').length")
    with dark(tab.driver):
        tab.keep_screenshot(tmp_path, "dark")
        assert tab.run("return colour('paper')") == "#16181b"


def test_players_play_and_pause(tab):
    """Both videos move on together, and stand on one frame when paused."""
    tab.press(" ")
    tab.wait("Number(document.getElementById('seek').value) > 3")
    tab.run("document.getElementById('play').click()")
    tab.wait("document.getElementById('play').textContent === 'Play'")
    tab.wait("document.getElementById('stage').ariaBusy === 'false'")
    number = tab.run("return Number(document.getElementById('seek').value)")
    assert [tab.shown_frame("left"), tab.shown_frame("right")] == [number, number]


def wait_for_frame(tab, number, seconds=10):
    """Both players show a frame: a seek is done a little after the page says where it goes."""
    deadline = time.monotonic() + seconds
    while (shown := (tab.shown_frame("left"), tab.shown_frame("right"))) != (number, number):
        assert time.monotonic() < deadline, f"frame {number} was asked for, {shown} are shown"
        time.sleep(0.02)


def test_frames_are_stepped_exactly(tab):
    """Buttons, keys and the slider reach every frame; the ends hold."""
    from selenium.webdriver.common.keys import Keys

    assert tab.shown_frame() == 0
    for number in range(1, FRAMES):
        tab.run("document.getElementById('forward').click()")
        tab.wait(f"document.getElementById('position').textContent.startsWith('frame {number + 1} of {FRAMES}')")
        wait_for_frame(tab, number)
    tab.press(Keys.ARROW_LEFT)
    tab.wait(f"document.getElementById('position').textContent.startsWith('frame {FRAMES - 1} ')")
    wait_for_frame(tab, FRAMES - 2)
    tab.run("const s = document.getElementById('seek'); s.value = 3; s.dispatchEvent(new Event('input'))")
    tab.wait("document.getElementById('position').textContent.startsWith('frame 4 ')")
    wait_for_frame(tab, 3)


def test_wipe_moves(tab):
    """By its slider, by keys and by dragging."""
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.keys import Keys

    place = "return parseFloat(getComputedStyle(document.getElementById('right-canvas')).clipPath.split(' ')[3])"
    tab.run("const s = document.getElementById('wipe'); s.value = 20; s.dispatchEvent(new Event('input'))")
    assert tab.run(place) == 20
    tab.press(Keys.SHIFT + Keys.ARROW_RIGHT)
    assert tab.run(place) == 25
    stage = tab.driver.find_element("id", "stage")
    tab.run("arguments[0].scrollIntoView({ block: 'center' })", stage)
    ActionChains(tab.driver).move_to_element(stage).click_and_hold().move_by_offset(100, 0).release().perform()
    assert tab.run(place) == pytest.approx(50 + 100 * 100 / stage.rect["width"], abs=1)


def test_difference_is_that_to_the_original(tab):
    """Black where nothing changed, amplified where it did; the original itself is black."""
    before = tab.pixel("left", 40, 40)
    tab.press("d")
    assert tab.pixel("left", MARK // 2, MARK // 2) < 30
    tab.choose("gain", "1")
    once = tab.pixel("left", 40, 40)
    tab.choose("gain", "4")
    assert once == pytest.approx(CHANGE * 255 / 219, abs=4)
    assert tab.pixel("left", 40, 40) == pytest.approx(4 * once, abs=1)
    tab.choose("left-source", "original")
    assert tab.pixel("left", 40, 40) == 0
    tab.press("d")
    assert tab.pixel("left", 40, 40) == pytest.approx(before - CHANGE * 255 / 219, abs=4)


def test_page_without_media_or_results(browser, bench, tmp_path):
    """It says what is not there, and nothing breaks."""
    for name, held in (("points", bench.points), ("nothing", ())):
        write_page(tmp_path / f"{name}.html", replace(bench, points=held, media=()))
        tab = Tab(browser, tmp_path / f"{name}.html")
        assert "kept no videos" in tab.run("return document.getElementById('watch-notice').textContent")
        assert tab.problems() == []


def test_page_with_spending_but_no_videos(browser, bench, tmp_path):
    """The bits are drawn all the same."""
    write_page(tmp_path / "p.html", replace(bench, media=(replace(bench.media[0], videos={}),)))
    tab = Tab(browser, tmp_path / "p.html")
    assert tab.run("return document.querySelectorAll('#spending .bars path').length")
    assert "key frames" in tab.run("return document.getElementById('bits-note').textContent")
    assert tab.problems() == []
