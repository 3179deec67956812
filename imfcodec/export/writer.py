"""Writes a model's decoder as a folder of ONNX graphs and tables (docs/light.md)."""

import hashlib
import re
from pathlib import Path

import torch
from safetensors.numpy import load_file, save

from imfcodec.errors import UsageError
from imfcodec.export.conversion import Values, make_graph
from imfcodec.export.examples import example
from imfcodec.export.graphs import MODULES, for_export
from imfcodec.files import OutputFolder
from imfcodec.light.graphs import CONCEALING
from imfcodec.light.model import DESCRIPTION, G_STEPS, STEPS, TABLES, U_STEPS, Description, graph_file
from imfcodec.models.network import ImfNetwork
from imfcodec.nn.quantize import QINDEX_LEVELS, qindex_fraction
from imfcodec.zoo import available_models, load_model

TRACED, CHECKED = (2, 64, 128), (3, 128, 64)  # batch, height, width
_TABLES_AND_INTEGERS = ("tables.", "latent_prior.indices.", "token_prior.u_index.", "token_prior.g_index.")
_OWN = re.compile(rf"\w+\.onnx|{re.escape(DESCRIPTION)}|{re.escape(TABLES)}")


def export_model(name: str, folder: Path, *, overwrite: bool = False, conceals: bool = True) -> Description:
    """Write the decoder of a model to a folder; every graph is compared with torch at two sizes first.

    Args:
        name: of an installed model, or the path of its file.
        overwrite: replace an exported model.
        conceals: whether it is to move lost frames; the graphs for that take as long to make as all others.
    Returns:
        What the folder says of itself.
    Raises:
        ModelError: no such model, or a graph computes something else than torch does.
        UsageError: the folder holds an exported model, or cannot be one.
        OutputError: the folder cannot be written.
    """
    if not overwrite and (folder / DESCRIPTION).exists():
        raise UsageError(f"{folder}: holds an exported model; name another folder or give -y to overwrite it")
    model = load_model(name)
    path = next((info.path for info in available_models() if info.name == name), Path(name))
    output = OutputFolder(folder, _OWN, str(folder), overwrite=True)
    try:
        contents = {TABLES: save(_tables(path, model.network)), **_graphs(model.network, conceals)}
        hashes = {file: hashlib.sha256(data).hexdigest() for file, data in contents.items()}
        description = Description(model.model_id, model.network.config, hashes)
        for file, data in {**contents, DESCRIPTION: description.to_json().encode()}.items():
            output.write(file, data)
        output.commit()
    finally:
        output.discard()
    return description


def _graphs(network: ImfNetwork, conceals: bool) -> dict[str, bytes]:
    fast = for_export(network)
    traced, checked = (example(network, *shape) for shape in (TRACED, CHECKED))
    names = [name for name in MODULES if conceals or name not in CONCEALING]
    return {graph_file(name): make_graph(name, MODULES[name](fast), traced, checked) for name in names}


def _tables(path: Path, network: ImfNetwork) -> Values:
    """The file's tables and integer networks, and quantisation steps at every quantiser index."""
    fraction = qindex_fraction(torch.arange(QINDEX_LEVELS))
    steps = {STEPS[role]: of_role(fraction) for role, of_role in zip(STEPS, network.latent_prior.steps, strict=True)}
    steps |= {G_STEPS: network.token_prior.g_steps(fraction), U_STEPS: network.token_prior.u_steps(fraction)}
    tables = {name: value for name, value in load_file(path).items() if name.startswith(_TABLES_AND_INTEGERS)}
    return {**tables, **{name: value.detach().contiguous().numpy() for name, value in steps.items()}}
