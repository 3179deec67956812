"""The page in a headless Chromium: pictures come, and the controls do what they say."""

import threading
from pathlib import Path

import pytest

from imfcodec.web.pages import write_page
from imfcodec.web.serving import PageServer

BITSTREAMS = Path(__file__).parents[2] / "bitstreams"
NAMES = ("valid/chunks", "uncommon/rotation-90", "faulty/no-end", "faulty/checksum")
PATIENCE_SECONDS = 60


@pytest.fixture(scope="module")
def url(runtime, exported, tmp_path_factory):
    """Address of a page with some conformance streams."""
    folder = tmp_path_factory.mktemp("web") / "page"
    write_page([BITSTREAMS / f"{name}.imf" for name in NAMES], folder, model=exported, runtime=runtime, conceal=True)
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

    def wait_for_picture(self):
        self.wait("!document.body.classList.contains('waiting')")
        return self.run("return picture.toDataURL()")

    def choose(self, number):
        self.run(f"streams.selectedIndex = {number}; streams.dispatchEvent(new Event('change'))")
        self.wait("document.body.dataset.state === 'paused' && !document.body.classList.contains('waiting')")


def test_it_plays_seeks_steps_and_turns(browser, url):
    tab = Tab(browser, url)
    assert tab.run("return crossOriginIsolated && document.getElementById('message').textContent === ''")
    first = tab.wait_for_picture()
    tab.press(".")
    second = tab.wait_for_picture()
    assert second != first
    tab.press("End")
    assert tab.wait_for_picture() not in (first, second)
    tab.press("Home")
    assert tab.wait_for_picture() == first
    tab.press(" ")
    tab.wait("document.body.dataset.state === 'playing'")
    tab.wait("document.body.dataset.state === 'paused'")
    assert tab.run("return Math.abs(seek.value - seek.max) < 1e-6 && live.textContent.includes('kbps')")
    tab.choose(1)
    assert tab.run("return [picture.width, picture.height]") == [64, 64]
    assert [line for line in tab.driver.get_log("browser") if line["level"] == "SEVERE"] == []


def test_a_damaged_stream_says_so_and_what_came_before_plays(browser, url):
    tab = Tab(browser, url)
    tab.choose(2)
    assert "damaged" in tab.run("return message.textContent")
    tab.run("streams.selectedIndex = 3; streams.dispatchEvent(new Event('change'))")
    tab.wait("document.body.dataset.state === 'failed'")
    assert tab.run("return message.textContent") == "checksum.imf: a checksum does not match"
