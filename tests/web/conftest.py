"""The page's decoder is tested with the conformance streams, and with what replays them."""

import shutil
import sys
from pathlib import Path

import pytest

from imfcodec.errors import UsageError

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "bitstreams")]


@pytest.fixture(scope="session")
def node() -> str:
    """Node.js."""
    program = shutil.which("node")
    if program is None:
        pytest.skip("no Node.js here; on Debian: apt-get install nodejs")
    return program


@pytest.fixture(scope="session")
def runtime() -> Path:
    """Folder of onnxruntime-web."""
    from imfcodec.web.runtime import find_runtime

    try:
        return find_runtime(ROOT)[0].parent
    except UsageError:
        pytest.skip("no onnxruntime-web here; in the project's folder: npm install --no-save onnxruntime-web")


@pytest.fixture(scope="session")
def exported(tmp_path_factory) -> Path:
    """The tiny model, exported."""
    pytest.importorskip("onnx", reason="exporting needs the package onnx")
    pytest.importorskip("onnxruntime", reason="exporting needs the package onnxruntime")
    from imfcodec.export.writer import export_model

    folder = tmp_path_factory.mktemp("exported") / "tiny"
    export_model(str(ROOT / "bitstreams" / "tiny.safetensors"), folder, conceals=False)
    return folder


@pytest.fixture(scope="module")
def firefox(tmp_path_factory):
    """A headless Firefox that reaches this machine alone."""
    pytest.importorskip("websocket", reason="driving Firefox needs the package websocket-client")
    program = shutil.which("firefox-esr") or shutil.which("firefox")
    if program is None:
        pytest.skip("no Firefox here; on Debian: apt-get install firefox-esr")
    from firefox import Firefox

    session = Firefox(program, tmp_path_factory.mktemp("firefox"))
    yield session
    session.quit()


@pytest.fixture(scope="module", params=["browser", "firefox"], ids=["chromium", "firefox"])
def any_browser(request):
    """Each browser in turn."""
    return request.getfixturevalue(request.param)
