"""Speed of the page: time to the first picture, and frames a second, in headless Chromium on one core.

    python benchmarks/page.py STREAM... [--model DIR] [--runtime DIR] [--core 0] [--threads 1]

The browser, all of its processes, is held to one core. Beside what a clock says stands the CPU time that all of them
took: what an idle core needs, whatever else the machine does. Every frame is decoded, none left out for time. Linux.
"""

import argparse
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from imfcodec.web.pages import write_page
from imfcodec.web.serving import PageServer

TIMEOUT_SECONDS = 600
TICKS = os.sysconf("SC_CLK_TCK")

FIRST = "return performance.getEntriesByName('first-picture').map((mark) => mark.startTime / 1000)[0]"
OPEN = """
const done = arguments[1];
const { Decoder } = await import(new URL("decoder.mjs", location.href));
const data = await (await fetch(arguments[0])).arrayBuffer();
window.receive = done;
window.decoder = await Decoder.open(data, () => window.receive({}), (message) => done({ message }));
decoder.ask(0);
"""
DECODE = """
const done = arguments[0];
let left = decoder.stream.times.length - 1;
const [count, start] = [left, performance.now()];
window.receive = () => --left || done({ frames: count, seconds: (performance.now() - start) / 1000 });
for (let frame = 1; frame <= count; frame++) decoder.ask(frame);
"""


@dataclass(frozen=True)
class Figures:
    """What a stream took.

    Attributes:
        first_seconds, first_cpu_seconds: from the start of loading the page to the first picture.
        fps, cpu_fps: frames a second, and a second of CPU time, after the first one, on a page that draws nothing.
    """

    first_seconds: float
    first_cpu_seconds: float
    fps: float
    cpu_fps: float


def cpu_seconds(root: int) -> float:
    """CPU time of a process and all that it started, the ones that have ended included."""
    parents, times = {}, {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:  # it has just ended
                continue
            parents[int(entry.name)], times[int(entry.name)] = int(fields[1]), sum(map(int, fields[11:15])) / TICKS
    family, wave = {root}, {root}
    while wave := {child for child, parent in parents.items() if parent in wave}:
        family |= wave
    return sum(times.get(process, 0) for process in family)


@contextmanager
def open_browser(core: int) -> Iterator[tuple[Any, int]]:
    """A headless Chromium on one core, and the process that started it."""
    from selenium import webdriver

    chromium, driver = (shutil.which(name) for name in ("chromium", "chromedriver"))
    if not (chromium and driver):
        raise SystemExit("no Chromium with its driver here; on Debian: apt-get install chromium chromium-driver")
    os.sched_setaffinity(0, {core})
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    service = webdriver.ChromeService(driver)
    browser = webdriver.Chrome(options=options, service=service)
    browser.set_script_timeout(TIMEOUT_SECONDS)
    try:
        yield browser, service.process.pid
    finally:
        browser.quit()


def measure(url: str, core: int) -> Figures:
    """Figures of the first stream of a page, in a browser of its own."""
    with open_browser(core) as (browser, process):
        before = cpu_seconds(process)
        browser.get(url)
        end = monotonic() + TIMEOUT_SECONDS
        while (first := browser.execute_script(FIRST)) is None:
            if monotonic() > end:
                raise SystemExit(f"{url}: no picture came in {TIMEOUT_SECONDS} seconds")
            sleep(0.2)
        first_cpu = cpu_seconds(process) - before
        browser.get(url.replace("?", "streams.json?"))  # nothing to draw, and modules may be imported from here
        run_script(browser, OPEN, "stream-1.imf")
        before = cpu_seconds(process)
        result = run_script(browser, DECODE)
        cpu = cpu_seconds(process) - before
    return Figures(first, first_cpu, result["frames"] / result["seconds"], result["frames"] / cpu)


def run_script(browser: Any, script: str, *arguments: str) -> dict[str, Any]:
    """What a script gives to its last argument."""
    result = browser.execute_async_script(f"(async () => {{{script}}}).apply(null, arguments)", *arguments)
    if "message" in result:
        raise SystemExit(result["message"])
    return result


def main() -> None:
    """Measure, and print a table."""
    from imfcodec.evaluation.environment import describe_environment
    from imfcodec.evaluation.summary import markdown_table

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("streams", nargs="+", type=Path, help=".imf files")
    parser.add_argument("--model", help="exported model; otherwise the package's is exported")
    parser.add_argument("--runtime", help="folder of onnxruntime-web; otherwise node_modules")
    parser.add_argument("--core", type=int, default=0, help="number of the core (0)")
    parser.add_argument("--threads", type=int, default=1, help="of the networks (1)")
    arguments = parser.parse_args()
    cells = []
    for stream in arguments.streams:
        with tempfile.TemporaryDirectory() as folder:
            write_page([stream], f"{folder}/page", model=arguments.model, runtime=arguments.runtime)
            with PageServer(f"{folder}/page") as server:
                threading.Thread(target=server.serve_forever, daemon=True).start()
                figures = measure(f"{server.url}?threads={arguments.threads}", arguments.core)
                server.shutdown()
        firsts = [f"{figures.first_seconds:.1f}", f"{figures.first_cpu_seconds:.1f}"]
        cells.append([stream.name, *firsts, f"{figures.fps:.1f}", f"{figures.cpu_fps:.1f}"])
        print(*cells[-1], sep=" | ", flush=True)
    heads = ["stream", "first picture, s", "CPU s", "frames a second", "a CPU second"]
    print(f"\n{markdown_table(heads, cells)}\n\n{describe_environment()}.")


if __name__ == "__main__":
    main()
