"""Writes a folder that any web server can serve: the player, streams, their models and onnxruntime-web."""

import json
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import BinaryIO

from imfcodec.bitstream.container import StreamReader, verify_structure
from imfcodec.bitstream.header import StreamHeader
from imfcodec.errors import CorruptStreamError, ModelError, UsageError
from imfcodec.files import OutputFolder, check_distinct, list_folder, open_input
from imfcodec.light.choice import find_installed
from imfcodec.light.graphs import GRAPHS
from imfcodec.light.model import DESCRIPTION, TABLES, graph_file, read_description, read_exported
from imfcodec.web.runtime import RUNTIME_FILES, find_runtime

SITE = Path(__file__).parent / "site"
LIST = "streams.json"
_INTEGERS = b'"latent_prior.indices.enter.weight"'  # one of the tensors that pages need and older exports lack
_MODEL_FILES = (TABLES, *(graph_file(name) for name in GRAPHS if name != "token_rows"))
_OWN = r"stream-\d+\.imf|[0-9a-f]{16}-(\w+\.onnx|model\.json|tables\.safetensors)"


def write_page(
    sources: Sequence[str | Path],
    folder: str | Path,
    *,
    model: str | Path | None = None,
    runtime: str | Path | None = None,
    overwrite: bool = False,
    conceal: bool = False,
    say: Callable[[str], None] | None = None,
) -> int:
    """Write a page that plays streams.

    Args:
        sources: .imf files, played in this order.
        folder: made when missing; other files in it stay.
        model: exported model (`imfcodec export`) of all streams; None takes those that come with the package, or
            exports them.
        runtime: folder of onnxruntime-web, see `find_runtime`.
        overwrite: replace a page that is there.
        conceal: take streams that are cut off or damaged too; they play up to there.
        say: is told of each of those, one line.
    Returns:
        How many there are of those.
    Raises:
        UsageError: onnxruntime-web or what exports models is missing, or a page is there already.
        InputError, CorruptStreamError: a source cannot be read or is no stream; without `conceal`, it is damaged.
        ModelError: no model for a stream.
        OutputError: the folder cannot be written.
    """
    folder, site = Path(folder), list_folder(SITE)
    check_distinct(sources, [folder])
    if not overwrite and (folder / LIST).exists():
        raise UsageError(f"{folder}: holds a page already; name another folder or give -y to overwrite it")
    names = [LIST, *RUNTIME_FILES, *(path.name for path in site)]
    own = re.compile("|".join([_OWN, *map(re.escape, names)]))
    for path in map(Path, sources):
        if own.fullmatch(path.name) and path.resolve().parent == folder.resolve():
            raise UsageError(f"{path} belongs to the page that is to be replaced; name another folder")
    faults: list[CorruptStreamError] = []
    output = OutputFolder(folder, own, str(folder), overwrite=overwrite)
    try:
        for file in (*find_runtime(runtime), *site):
            output.write(file.name, _read(file))
        for model_id in _write_streams(output, sources, faults if conceal else None):
            with _exported(model_id, model) as exported:
                _write_model(output, model_id, exported)
        output.commit()
    finally:
        output.discard()
    for fault in faults:
        if say:
            say(f"{fault} (it plays up to there)")
    return len(faults)


def _write_streams(
    output: OutputFolder, sources: Iterable[str | Path], faults: list[CorruptStreamError] | None
) -> list[bytes]:
    """Write streams and their list; ids of the models they need. What is wrong with streams goes into `faults`."""
    entries, model_ids = [], []
    for number, source in enumerate(sources, start=1):
        file = f"stream-{number}.imf"
        with open_input(source) as stream:
            model_ids.append(_check(stream, faults).model_id)
        output.write(file, _read(source))
        entries.append({"name": Path(source).name, "file": file})
    output.write(LIST, json.dumps({"streams": entries}, indent=1).encode())
    return sorted(set(model_ids))


def _check(stream: BinaryIO, faults: list[CorruptStreamError] | None) -> StreamHeader:
    """The header of a stream that is sound; without `faults` to note it in, damage is an error."""
    header = StreamReader(stream).header
    stream.seek(0)
    try:
        verify_structure(stream)
    except CorruptStreamError as error:
        if faults is None:
            raise
        faults.append(error)
    return header


@contextmanager
def _exported(model_id: bytes, given: str | Path | None) -> Iterator[Path]:
    """Folder of the exported model that a stream needs, for a while."""
    if given is not None:
        yield Path(given)
    elif installed := find_installed(model_id):
        yield installed
    else:
        with tempfile.TemporaryDirectory(prefix="imfcodec-") as folder:
            yield _export(model_id, Path(folder, "model"))


def _export(model_id: bytes, folder: Path) -> Path:
    if missing := [name for name in ("torch", "onnx", "onnxruntime") if find_spec(name) is None]:
        raise UsageError(
            f"exporting the model needs {missing[0]}; give --model DIR, made by `imfcodec export` elsewhere"
        )
    from imfcodec.export.writer import export_model
    from imfcodec.zoo import available_models

    names = [info.name for info in available_models() if info.model_id == model_id]
    if not names:
        raise ModelError(
            f"no model {model_id.hex()} is installed; export the one the stream was made with: --model DIR"
        )
    export_model(names[0], folder)
    return folder


def _write_model(output: OutputFolder, model_id: bytes, folder: Path) -> None:
    description = read_description(folder)
    if description.model_id != model_id:
        wanted, given = model_id.hex(), description.model_id.hex()
        raise ModelError(f"a stream was made with model {wanted}; {folder} is {given}")
    output.write(f"{model_id.hex()}-{DESCRIPTION}", description.to_json().encode())
    for name in _MODEL_FILES:
        data = read_exported(folder, description, name)
        if name == TABLES and _INTEGERS not in data:
            raise ModelError(f"{folder}: was exported before there were pages; export the model again")
        output.write(f"{model_id.hex()}-{name}", data)


def _read(path: str | Path) -> bytes:
    with open_input(path) as file:
        return file.read()
