"""onnxruntime-web, which runs a page's networks: where its files are found."""

from collections.abc import Iterator
from pathlib import Path

from imfcodec.errors import UsageError

RUNTIME_FILES = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
_INSTALLED = Path("node_modules", "onnxruntime-web", "dist")


def find_runtime(folder: str | Path | None = None) -> list[Path]:
    """The files of onnxruntime-web that a page needs.

    Args:
        folder: where they are: its `dist`, or a folder that holds `node_modules`; None looks for `node_modules` in the
            working folder and those around it, as Node.js does.
    Raises:
        UsageError: they are not there.
    """
    for place in _places(folder):
        files = [place / name for name in RUNTIME_FILES]
        if all(file.is_file() for file in files):
            return files
    where = "this folder and those around it have" if folder is None else f"{folder}: has"
    raise UsageError(f"{where} no onnxruntime-web; run: npm install onnxruntime-web, or give its folder with --runtime")


def _places(folder: str | Path | None) -> Iterator[Path]:
    if folder is not None:
        yield from (Path(folder), Path(folder, "dist"), Path(folder, _INSTALLED))
    else:
        here = Path.cwd()
        yield from (place / _INSTALLED for place in (here, *here.parents))
