"""Writes a folder that any web server can serve: the player, streams, their models and onnxruntime-web.

Other videos may stand beside a stream.
"""

import json
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO

from imfcodec.bitstream.container import StreamReader, verify_structure
from imfcodec.errors import CorruptStreamError, ModelError, UsageError
from imfcodec.files import OutputFolder, check_distinct, list_folder, open_input
from imfcodec.light.choice import find_installed
from imfcodec.light.graphs import CONCEALING, GRAPHS
from imfcodec.light.model import DESCRIPTION, TABLES, graph_file, read_description, read_exported
from imfcodec.web.runtime import RUNTIME_FILES, find_runtime
from imfcodec.web.videos import SUFFIX, convert_video

SITE = Path(__file__).parent / "site"
LIST = "streams.json"
_INTEGERS = b'"latent_prior.indices.enter.weight"'  # one of the tensors that pages need and older exports lack
_MODEL_FILES = (TABLES, *(graph_file(name) for name in GRAPHS if name not in ("token_rows", *CONCEALING)))
_OWN = rf"stream-\d+\.imf|beside-\d+{re.escape(SUFFIX)}|[0-9a-f]{{16}}-(\w+\.onnx|model\.json|tables\.safetensors)"


def write_page(
    sources: Sequence[str | Path],
    folder: str | Path,
    *,
    model: str | Path | None = None,
    runtime: str | Path | None = None,
    overwrite: bool = False,
    conceal: bool = False,
    beside: Mapping[str, str | Path] | None = None,
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
        beside: name -> video file, to be played beside the only stream in step with it.
        say: is told of each of those streams, and of what is wrong with a video; one line each.
    Returns:
        How many there are of those.
    Raises:
        UsageError: onnxruntime-web or what exports models is missing, a page is there already, or there is more than
            one stream to stand beside.
        InputError, CorruptStreamError: a source cannot be read or is no stream; without `conceal`, it is damaged.
        ModelError: no model for a stream.
        OutputError: the folder cannot be written.
    """
    folder, site, beside, say = Path(folder), list_folder(SITE), beside or {}, say or (lambda line: None)
    if beside and len(sources) != 1:
        raise UsageError("videos can stand beside one stream (--beside); write a page for each")
    check_distinct([*sources, *beside.values()], [folder])
    if not overwrite and (folder / LIST).exists():
        raise UsageError(f"{folder}: holds a page already; name another folder or give -y to overwrite it")
    names = [LIST, *RUNTIME_FILES, *(path.name for path in site)]
    own = re.compile("|".join([_OWN, *map(re.escape, names)]))
    for path in map(Path, [*sources, *beside.values()]):
        if own.fullmatch(path.name) and path.resolve().parent == folder.resolve():
            raise UsageError(f"{path} belongs to the page that is to be replaced; name another folder")
    faults: list[CorruptStreamError] = []
    output = OutputFolder(folder, own, str(folder), overwrite=overwrite)
    try:
        for file in (*find_runtime(runtime), *site):
            output.write(file.name, _read(file))
        for model_id in _write_streams(output, sources, faults if conceal else None, beside, say):
            with _exported(model_id, model) as exported:
                _write_model(output, model_id, exported)
        output.commit()
    finally:
        output.discard()
    for fault in faults:
        say(f"{fault} (it plays up to there)")
    return len(faults)


def _write_streams(
    output: OutputFolder,
    sources: Iterable[str | Path],
    faults: list[CorruptStreamError] | None,
    beside: Mapping[str, str | Path],
    say: Callable[[str], None],
) -> list[bytes]:
    """Write streams, what stands beside them and their list; ids of the models they need.

    What is wrong with streams goes into `faults`.
    """
    entries, model_ids = [], []
    for number, source in enumerate(sources, start=1):
        file = f"stream-{number}.imf"
        with open_input(source) as stream:
            model_id, seconds = _check(stream, faults)
        model_ids.append(model_id)
        output.write(file, _read(source))
        videos = _write_videos(output, beside, seconds, say)
        entries.append({"name": Path(source).name, "file": file, "beside": videos})
    output.write(LIST, json.dumps({"streams": entries}, indent=1).encode())
    return sorted(set(model_ids))


def _check(stream: BinaryIO, faults: list[CorruptStreamError] | None) -> tuple[bytes, float | None]:
    """Model id and seconds of a stream that is sound; without `faults` to note it in, damage is an error.

    How long a damaged stream plays is not known.
    """
    model_id = StreamReader(stream).header.model_id
    stream.seek(0)
    try:
        return model_id, verify_structure(stream).duration_seconds
    except CorruptStreamError as error:
        if faults is None:
            raise
        faults.append(error)
        return model_id, None


def _write_videos(
    output: OutputFolder, videos: Mapping[str, str | Path], until: float | None, say: Callable[[str], None]
) -> list[dict[str, Any]]:
    """Write what stands beside a stream of so many seconds: its entries of the list."""
    entries = []
    with tempfile.TemporaryDirectory(prefix="imfcodec-") as folder:
        for number, (name, source) in enumerate(videos.items(), start=1):
            file = f"beside-{number}{SUFFIX}"
            kbps = convert_video(source, Path(folder, file), until, say)
            output.write(file, _read(Path(folder, file)))
            entries.append({"name": name, "file": file, "kbps": kbps})
    return entries


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
    export_model(names[0], folder, conceals=False)
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
