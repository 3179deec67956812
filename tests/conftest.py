"""Fixtures shared by all tests: repeatable randomness, and clips drawn by code."""

import os
import random
import shutil
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from imfcodec.evaluation.synthetic import talking_face, talking_face_format
from imfcodec.video.writer import open_writer

ROOT = Path(__file__).parent.parent
CLIP_FRAMES = 10


@pytest.fixture(autouse=True)
def _repeatable():
    """Same seeds and one torch thread for every test, whatever ran before; tests without torch do not load it."""
    random.seed(0)
    np.random.seed(0)
    if torch := sys.modules.get("torch"):
        torch.manual_seed(0)
        torch.set_num_threads(1)


def _devices():
    """Where networks are tested: where IMFCODEC_TEST_DEVICE says, else on the CPU, and on a GPU if there is one."""
    if named := os.environ.get("IMFCODEC_TEST_DEVICE"):
        return [named]
    import torch

    return ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]


def pytest_generate_tests(metafunc):
    """Run every test that asks for a `torch_device` on each."""
    if "torch_device" in metafunc.fixturenames:
        metafunc.parametrize("torch_device", _devices(), indirect=True, scope="session")


@pytest.fixture(scope="session")
def torch_device(request):
    """A device, float32 in full precision as on the CPU; one that is asked for by name and missing is a failure."""
    import torch

    from imfcodec.api.model import pick_device
    from imfcodec.errors import UsageError

    try:
        name = pick_device(request.param)
    except UsageError as error:
        pytest.fail(f"IMFCODEC_TEST_DEVICE={request.param}: {error}", pytrace=False)
    torch.backends.cudnn.allow_tf32 = False
    return name


@pytest.fixture(scope="session")
def tolerance(torch_device):
    """By how much samples, 0 to 1, may differ between two runs: the CPU rounds alike, others may be off by a level."""
    return 0 if torch_device == "cpu" else 1 / 255


@pytest.fixture(scope="session")
def face_format():
    """Format of the small talking face: 96x80, 25 frames per second."""
    return talking_face_format(96, 80, Fraction(25))


@pytest.fixture(scope="session")
def face_frames(face_format):
    """Ten frames of a small talking face."""
    return list(talking_face(face_format, CLIP_FRAMES))


@pytest.fixture(scope="session")
def face_y4m(face_format, face_frames, tmp_path_factory):
    """The small talking face as a Y4M file."""
    path = tmp_path_factory.mktemp("clips") / "face.y4m"
    with open_writer(path, face_format) as writer:
        for frame in face_frames:
            writer.write(frame)
    return path


@pytest.fixture(scope="session")
def extras(tmp_path_factory):
    """A Matroska file of two subtitles, from 0 to 0.1 and 0.12 to 0.2 seconds, in English, and two chapters."""
    folder = tmp_path_factory.mktemp("extras")
    lines = "1\n00:00:00,000 --> 00:00:00,100\nHello\n\n2\n00:00:00,120 --> 00:00:00,200\n<i>there</i>\n\n"
    (folder / "lines.srt").write_text(lines)
    path = folder / "extras.mkv"
    with av.open(str(folder / "lines.srt")) as subtitles, av.open(str(path), "w") as container:
        stream = container.add_stream_from_template(subtitles.streams[0])
        stream.metadata["language"] = "eng"
        tick = Fraction(1, 1000)
        container.set_chapters(
            [
                {"id": number, "start": start, "end": end, "time_base": tick, "metadata": {"title": title}}
                for number, (start, end, title) in enumerate([(0, 100, "one"), (100, 240, "two")])
            ]
        )
        for packet in subtitles.demux():
            if packet.size:
                packet.stream = stream
                container.mux(packet)
    return path


@pytest.fixture(scope="session")
def fresh_process():
    """Run `python ARGUMENTS` in a new process that imports this checkout; returns the completed process."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.getenv("PYTHONPATH"))))}

    def run(*arguments, **options):
        return subprocess.run(
            [sys.executable, *map(str, arguments)], env=environment, capture_output=True, check=False, **options
        )

    return run


@pytest.fixture(scope="session")
def small_config():
    """A model of a few thousand weights, for what does not depend on their values."""
    from imfcodec.config import ModelConfig

    return ModelConfig(
        latent_channels=16,
        latent_blocks=1,
        reference_channels=16,
        reference_depth=1,
        hyper_channels=4,
        context_channels=16,
        context_depth=1,
        integer_channels=16,
        frame_channels=16,
        frame_depth=1,
        align_channels=(16, 16),
        align_heads=2,
        gate_channels=8,
        global_channels=8,
        token_channels=8,
    )


@pytest.fixture(scope="session")
def face_pictures():
    """Nine frames of a talking face as pictures of 64x64."""
    import torch

    from imfcodec.codec.planes import to_picture

    video = talking_face_format(64, 64, Fraction(25))
    return [to_picture([frame], torch.device("cpu")) for frame in talking_face(video, 9)]


@pytest.fixture(scope="session")
def tiny_file(small_config, tmp_path_factory):
    """The file of a small model away from its start, at which it copies its reference; its tables are borrowed."""
    import json

    import torch
    from safetensors.torch import load_file, save_file

    from imfcodec.models.network import ImfNetwork
    from imfcodec.zoo import available_models

    torch.manual_seed(1)
    network = ImfNetwork(small_config)
    for parameter in network.parameters():
        if parameter.ndim > 1 and not parameter.any():
            torch.nn.init.normal_(parameter, std=0.02)
    shipped = load_file(next(model.path for model in available_models() if model.default))
    tables = {name: value for name, value in shipped.items() if name.startswith("tables.")}
    hyper = {name: value[: small_config.hyper_channels] for name, value in tables.items() if ".hyper." in name}
    tensors = {name: value.contiguous() for name, value in {**network.state_dict(), **tables, **hyper}.items()}
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    save_file(tensors, path, metadata={"config": json.dumps(small_config.to_dict())})
    return path


@pytest.fixture(scope="session")
def tiny(tiny_file):
    """The same, held: loaded once."""
    from imfcodec import api

    return api.Model(str(tiny_file), device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def browser():
    """A headless Chromium that reaches this machine alone."""
    webdriver = pytest.importorskip("selenium.webdriver")
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    driver = shutil.which("chromedriver")
    if not (chromium and driver):
        pytest.skip("no Chromium with its driver here; on Debian: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1200,1000"):
        options.add_argument(argument)
    options.add_argument("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    session = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield session
    session.quit()
