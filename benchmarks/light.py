"""Start-up, speed and memory of decoding: the exported model, torch, and FFmpeg's AV1 decoder.

    python benchmarks/light.py [--qualities 20 60] [--out docs/light.md]

Everything is counted in CPU time of one thread, each run in a process of its own, the best of some: what an idle core
needs, whatever else the machine does. The table takes the place of the one in --out, between its two marks.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import av

from imfcodec.files import write_beside

BEGIN, END = "<!-- figures: benchmarks/light.py -->", "<!-- end of figures -->"
WIDTH, HEIGHT, FRAMES = 256, 256, 50
AV1_CRF = 63
TIMEOUT_SECONDS = 900

_TELL = """
import json, time
next(frames)
first = time.process_time()
count = sum(1 for _ in frames)
seconds = time.process_time() - first
peak = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps([first, count / seconds, int(peak) / 1024]))
"""
_IMFCODEC = """
import sys
from imfcodec.api import decode_frames
stream, model, engine, dtype = sys.argv[1:]
frames = decode_frames(stream, model=model or None, engine=engine, dtype=dtype, device="cpu", threads=1)
"""
_PEER = """
import sys
import av
container = av.open(sys.argv[1])
container.streams.video[0].codec_context.thread_count = 1
frames = (picture.to_ndarray() for picture in container.decode(video=0))
"""


@dataclass(frozen=True)
class Figures:
    """What decoding took.

    Attributes:
        start_seconds: CPU time of the process until it had the first frame.
        fps: frames per second of CPU time after that.
        peak_mib: most memory the process held.
    """

    start_seconds: float
    fps: float
    peak_mib: float


def measure(program: str, arguments: Sequence[str], repeats: int) -> Figures:
    """The best figures of some runs of a program that makes `frames`."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    runs = []
    for _ in range(repeats):
        command = [sys.executable, "-c", program + _TELL, *arguments]
        run = subprocess.run(command, env=environment, capture_output=True, check=True, timeout=TIMEOUT_SECONDS)
        runs.append(json.loads(run.stdout))
    starts, speeds, peaks = zip(*runs, strict=True)
    return Figures(min(starts), max(speeds), min(peaks))


def measure_stream(stream: Path, folder: Path, repeats: int) -> Iterator[tuple[str, Figures]]:
    """Figures of an .imf stream, by engine."""
    engines = {
        "onnxruntime": (str(folder), "onnx", "auto"),
        "torch, float32": ("", "torch", "float32"),
        "torch, bfloat16": ("", "torch", "bfloat16"),
    }
    for name, arguments in engines.items():
        yield name, measure(_IMFCODEC, [str(stream), *arguments], repeats)


def draw(path: Path) -> None:
    """Write the clip that is decoded."""
    from imfcodec.evaluation.synthetic import talking_face, talking_face_format
    from imfcodec.video.writer import open_writer

    video = talking_face_format(WIDTH, HEIGHT)
    with open_writer(path, video) as writer:
        for frame in talking_face(video, FRAMES):
            writer.write(frame)


def encode_av1(source: Path, target: Path) -> None:
    """Encode a clip with SVT-AV1."""
    os.environ.setdefault("SVT_LOG", "1")  # it prints its settings otherwise
    with av.open(str(source)) as clip, av.open(str(target), "w") as out:
        stream = out.add_stream("libsvtav1", rate=25, options={"preset": "4", "crf": str(AV1_CRF)})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for picture in clip.decode(video=0):
            out.mux(stream.encode(picture))
        out.mux(stream.encode(None))


def rows(qualities: Sequence[int], repeats: int) -> Iterator[tuple[str, float, Figures]]:
    """What decodes what, kilobits per second of the file, figures."""
    from imfcodec import api
    from imfcodec.export.writer import export_model
    from imfcodec.zoo import DEFAULT_MODEL

    with tempfile.TemporaryDirectory() as place:
        source, stream, model, peer = (Path(place) / name for name in ("face.y4m", "face.imf", "model", "face.mkv"))
        draw(source)
        export_model(DEFAULT_MODEL, model)
        encode_av1(source, peer)
        yield f"SVT-AV1 crf {AV1_CRF}, FFmpeg", _kbps(peer), measure(_PEER, [str(peer)], repeats)
        for quality in qualities:
            api.encode(source, stream, quality=quality, threads=1, overwrite=True)
            for engine, figures in measure_stream(stream, model, repeats):
                yield f"imfcodec -q {quality}, {engine}", _kbps(stream), figures


def _kbps(path: Path) -> float:
    return path.stat().st_size * 8 / 1000 / (FRAMES / 25)


def insert(text: str, table: str) -> str:
    """A page with its table replaced."""
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n\n{table}\n\n{END}{rest.partition(END)[2]}"


def main() -> None:
    """Measure, print the table, and put it into the page."""
    from imfcodec.evaluation.environment import describe_environment
    from imfcodec.evaluation.summary import markdown_table
    from imfcodec.zoo import DEFAULT_MODEL, available_models

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--qualities", type=int, nargs="+", default=[20, 60], help="of imfcodec (20 60)")
    parser.add_argument("--repeats", type=int, default=3, help="runs of a case (3)")
    parser.add_argument("--out", type=Path, help="page whose table is replaced")
    arguments = parser.parse_args()
    model_id = next(info.model_id.hex() for info in available_models() if info.name == DEFAULT_MODEL)
    cells = []
    for name, kbps, figures in rows(arguments.qualities, arguments.repeats):
        row = [name, f"{kbps:.1f}", f"{figures.start_seconds:.2f}", f"{figures.fps:.0f}", f"{figures.peak_mib:.0f}"]
        print(*row, sep=" | ", file=sys.stderr, flush=True)
        cells.append(row)
    heads = ["decoder", "kbps", "start-up, s", "frames a second", "peak, MiB"]
    what = f"{FRAMES} drawn frames of {WIDTH}x{HEIGHT}, model {DEFAULT_MODEL} {model_id}, CPU time of one thread; "
    table = f"{markdown_table(heads, cells)}\n\n{what}{describe_environment()}."
    print(table)
    if arguments.out:
        with write_beside(arguments.out) as file:
            file.write(insert(arguments.out.read_text(encoding="utf-8"), table).encode())


if __name__ == "__main__":
    main()
