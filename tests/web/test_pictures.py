"""The page's pictures, made by Node.js with onnxruntime-web, beside those of the light decoder."""

import subprocess
from pathlib import Path

import numpy as np
from maker.replay import replay

from imfcodec.light.model import LightModel

HERE = Path(__file__).parent
SITE = HERE.parents[1] / "imfcodec" / "web" / "site"
STREAMS = [
    HERE.parents[1] / "bitstreams" / f"{name}.imf"
    for name in ("valid/size-129x66", "valid/splits-left", "valid/low-delay-golden", "valid/tail", "uncommon/deeper")
]
TIMEOUT = 120


def test_pictures_are_within_one_level_of_the_light_decoders(node, runtime, exported):
    command = [node, HERE / "pictures.mjs", SITE, runtime, exported, *STREAMS]
    done = subprocess.run(command, capture_output=True, timeout=TIMEOUT, check=False)
    assert done.returncode == 0, done.stderr
    frames = [frame for stream in STREAMS for frame in replay(stream.read_bytes(), LightModel(exported)).frames]
    wanted = np.concatenate([plane.ravel() for frame in frames for plane in (frame.y, frame.u, frame.v)]).astype(int)
    given = np.frombuffer(done.stdout, np.uint8)
    assert given.shape == wanted.shape
    distance = np.abs(given - wanted)
    assert distance.max() <= 1 and (distance > 0).mean() < 0.01
