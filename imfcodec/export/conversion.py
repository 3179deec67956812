"""One torch module to one ONNX graph: traced, tidied up, its weights in 16 bits where that changes nothing, checked."""

import tempfile
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from imfcodec.errors import ModelError
from imfcodec.light.graphs import GRAPHS

OPSET = 18
LEAST_HALVED = 256  # values of a tensor that is worth being kept in 16 bits
EXACT = ("rows", "row_context")  # endings of the names of what must be the same everywhere
LEVELS = "shown_"  # beginning of the names of pictures as they are shown
TOLERANCE = 2e-3  # of everything else, against its own size or 1

Values = dict[str, npt.NDArray[Any]]


def make_graph(name: str, module: nn.Module, traced: Mapping[str, Tensor], checked: Mapping[str, Tensor]) -> bytes:
    """ONNX graph `name` of a module.

    Args:
        traced, checked: inputs by name, of two sizes; the graph is made with the first, and must be right for both.
    Raises:
        ModelError: it computes something else than the module.
    """
    with tempfile.TemporaryDirectory() as folder:
        raw, tidy = Path(folder) / "raw.onnx", Path(folder) / "tidy.onnx"
        _trace(name, module, traced, raw)
        _tidy(raw, tidy)
        graph = _halve(tidy)
    session = onnxruntime.InferenceSession(graph, _quiet(), providers=["CPUExecutionProvider"])
    for values in (traced, checked):
        inputs = [values[key] for key in GRAPHS[name].inputs]
        with torch.inference_mode():
            wanted = module(*inputs)
        given = session.run(None, {key: x.numpy() for key, x in zip(GRAPHS[name].inputs, inputs, strict=True)})
        for output, one, other in zip(GRAPHS[name].outputs, given, wanted, strict=True):
            if not _agree(output, one, other.numpy()):
                raise ModelError(f"the exported graph {name} gives another {output} than torch does")
    return graph


def _agree(name: str, one: npt.NDArray[Any], other: npt.NDArray[Any]) -> bool:
    if name.endswith(EXACT):
        return np.array_equal(one, other)
    if name.startswith(LEVELS):
        return bool((np.abs(one - other) < 1.5 / 255).all())
    return bool((np.abs(one - other) <= TOLERANCE * np.maximum(1, np.abs(other))).all())


def _attention(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
    """Scaled dot product attention, some queries at a time: the matrix of all of them grows with the square of the
    picture."""
    parts: list[Tensor] = []
    for start in range(0, query.size(2), 1024):  # 0.3 GB at 1920x1080
        weight = torch.softmax(torch.matmul(query[:, :, start : start + 1024] * scale, key.transpose(2, 3)), -1)
        parts.append(torch.matmul(weight, value))
    return torch.cat(parts, 2)


def _windows(x: Tensor, axis: int, size: int, step: int) -> Tensor:
    """`Tensor.unfold` by single steps."""
    assert step == 1, "nothing here takes longer steps"
    count = int(x.size(axis) - size + 1)
    return torch.stack([x.narrow(axis, start, size).movedim(axis, -1) for start in range(count)], axis)


class _Traceable(TorchFunctionMode):
    """Says four things so that torch's exporter follows them: it freezes sizes put into a tensor, misreads axes that
    count from the end, makes attention hold all its weights at once, and knows windows of fixed sizes alone."""

    def __init__(self) -> None:
        super().__init__()
        self._attention = torch.jit.script(_attention)  # a trace would not keep the loop

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if function is torch.tensor and isinstance(args[0], list) and any(isinstance(x, Tensor) for x in args[0]):
            return torch.stack([torch.as_tensor(size) for size in args[0]]).to(kwargs.get("dtype"))
        if function is Tensor.movedim:
            x, *axes = args
            return function(x, *(axis % x.dim() for axis in axes))
        if function is Tensor.unfold:
            return _windows(*args)
        if function is nn.functional.scaled_dot_product_attention:
            return self._attention(*args, kwargs.get("scale") or args[0].shape[-1] ** -0.5)
        return function(*args, **kwargs)


def _trace(name: str, module: nn.Module, values: Mapping[str, Tensor], target: Path) -> None:
    inputs, outputs = GRAPHS[name]
    free = {key: _free_axes(key, values[key].dim()) for key in inputs if values[key].dim()}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporter is an old one, and says so
        with _Traceable():
            torch.onnx.export(
                module,
                tuple(values[key] for key in inputs),
                target,
                input_names=inputs,
                output_names=outputs,
                dynamic_axes=free,
                opset_version=OPSET,
                dynamo=False,
            )


def _free_axes(name: str, rank: int) -> dict[int, str]:
    """Batch, and whatever depends on height and width."""
    return {axis: "batch" if axis == 0 else f"{name}_{axis}" for axis in (0, *range(2, rank))}


def _tidy(source: Path, target: Path) -> None:
    """The graph with all that is constant computed."""
    options = _quiet()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(target)
    onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def _halve(source: Path) -> bytes:
    """The graph with weights in 16 bits where they lose nothing by it: model files hold most of them so."""
    model = onnx.load(source)
    casts = [cast for tensor in model.graph.initializer for cast in _halve_tensor(tensor)]
    for i, cast in enumerate(casts):
        model.graph.node.insert(i, cast)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def _halve_tensor(tensor: TensorProto) -> Iterable[onnx.NodeProto]:
    """Change a tensor to 16 bits; the node that widens it again."""
    if tensor.data_type != TensorProto.FLOAT:
        return
    values = numpy_helper.to_array(tensor)
    with np.errstate(over="ignore"):
        half = values.astype(np.float16)
    if values.size < LEAST_HALVED or not np.array_equal(half.astype(np.float32), values):
        return
    name = tensor.name
    tensor.CopyFrom(numpy_helper.from_array(half, f"{name}.half"))
    yield helper.make_node("Cast", [tensor.name], [name], to=TensorProto.FLOAT)


def _quiet() -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return options
