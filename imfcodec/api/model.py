"""The model a caller holds, and where and how it computes."""

import sys
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from imfcodec.bitstream.header import StreamHeader
from imfcodec.errors import ModelError, UsageError

if TYPE_CHECKING:
    from imfcodec.codec.decoder import Decoder
    from imfcodec.light.decoder import LightDecoder
    from imfcodec.light.model import LightModel
    from imfcodec.zoo import LoadedModel

Item = TypeVar("Item")


class Model:
    """A model to code with. It is loaded, and torch with it, when it is first needed, and once only.

    Args:
        name: name or path of a model, or for decoding the folder of an exported one; None is the default one for
            encoding, the one a stream names for decoding.
        device: "auto", "cpu", "cuda" or "cuda:N".
        dtype: arithmetic of the networks: "float32", "bfloat16", or "auto" for bfloat16 where the device has it.
        threads: CPU threads it computes with; None leaves that to torch. Between two frames the process has its own
            number of threads back.
        engine: what decodes: "torch", "onnx" (onnxruntime with an exported model, without torch), or "auto" for onnx
            where an exported model is named, or comes with the package and nothing asks for torch.
    Raises:
        UsageError: fewer than one thread.
    """

    def __init__(
        self,
        name: str | Path | None = None,
        *,
        device: str = "auto",
        dtype: str = "auto",
        threads: int | None = None,
        engine: str = "auto",
    ) -> None:
        if threads is not None and threads < 1:
            raise UsageError(f"{threads} threads cannot compute; give 1 or more")
        self.name = None if name is None else str(name)
        self.device, self.dtype, self.threads, self.engine = device, dtype, threads, engine
        self._loaded: dict[bytes | None, LoadedModel] = {}
        self._exported: dict[Path, LightModel] = {}

    def __getstate__(self) -> dict[str, object]:
        """Another process loads it anew."""
        return {**self.__dict__, "_loaded": {}, "_exported": {}}

    def with_threads(self, threads: int) -> "Model":
        """The same model, computing with so many threads."""
        twin = Model(self.name, device=self.device, dtype=self.dtype, threads=threads, engine=self.engine)
        twin._loaded, twin._exported = self._loaded, self._exported
        return twin

    @property
    def file(self) -> str | None:
        """The file it is read from, None where it is one of the installation."""
        return self.name if self.name and self.name.endswith(".safetensors") else None

    @property
    def model_id(self) -> bytes:
        """The 8 bytes by which streams name it; loads it."""
        return self.load().model_id

    def load(self, model_id: bytes | None = None) -> "LoadedModel":
        """The model with its weights, of this id where a stream needs it.

        Raises:
            ModelError: the model is missing, damaged, or another one than the stream was made with.
            UsageError: no such device or arithmetic.
        """
        wanted = model_id if self.name is None else None
        if wanted not in self._loaded:
            loaded = self._load(wanted)
            self._loaded[wanted] = loaded
            if self.name is None:
                self._loaded[loaded.model_id] = loaded
        loaded = self._loaded[wanted]
        if model_id not in (None, loaded.model_id):
            own = loaded.model_id.hex()
            raise ModelError(f"the stream was made with model {model_id.hex()}, not with {self.name} ({own})")
        return loaded

    def open_decoder(self, header: StreamHeader, *, conceal: bool = False) -> "Decoder | LightDecoder":
        """A decoder of one stream, by the engine that suits it.

        Raises:
            ModelError: as `load`, or an exported model is damaged.
            UsageError: as `load`, or the engine is unknown or cannot do what is asked.
        """
        from imfcodec.light.choice import find_exported

        folder = find_exported(self.engine, self.name, header.model_id, self.device, self.dtype)
        if folder is None:
            from imfcodec.codec.decoder import Decoder

            return Decoder(self.load(header.model_id), header, conceal=conceal)
        from imfcodec.light.decoder import LightDecoder
        from imfcodec.light.model import LightModel

        if folder not in self._exported:
            self._exported[folder] = LightModel(folder, self.threads)
        return LightDecoder(self._exported[folder], header, conceal=conceal)

    def _load(self, model_id: bytes | None) -> "LoadedModel":
        from imfcodec import zoo

        device = pick_device(self.device)
        dtype = zoo.pick_dtype(self.dtype, device)
        if model_id is not None:
            return zoo.load_model_by_id(model_id, device=device, dtype=dtype)
        return zoo.load_model(self.name, device=device, dtype=dtype)

    def paced(self, items: Iterable[Item]) -> Generator[Item, None, None]:
        """The items, each made with this model's number of threads."""
        iterator = iter(items)
        while True:
            try:
                with self.own_threads():
                    item = next(iterator)
            except StopIteration:
                return
            yield item

    @contextmanager
    def own_threads(self) -> Iterator[None]:
        """A block that computes with this model's number of threads."""
        torch = sys.modules.get("torch")
        if self.threads is None or torch is None:
            yield
            return
        before = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)


def as_model(model: Model | str | Path | None) -> Model:
    """A model that is given as such, by its name or path, or as None for the usual one."""
    return model if isinstance(model, Model) else Model(model)


def pick_device(name: str) -> str:
    """Torch's name of a device given as "auto", "cpu", "cuda" or "cuda:N".

    Raises:
        UsageError: no such device.
    """
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, index = name.partition(":")
    if kind not in ("cpu", "cuda") or (index and not index.isdecimal()):
        raise UsageError(f"device {name!r} is unknown; use auto, cpu, cuda or cuda:N")
    if kind == "cuda" and int(index or 0) >= torch.cuda.device_count():
        raise UsageError(f"device {name!r} is not there; `imfcodec doctor` shows what is")
    return name
