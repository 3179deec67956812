"""The floors of the package: a module imports from its own floor and lower ones only."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "imfcodec"

# Longest prefix wins. A floor is a number; training and evaluation stand beside the stairs and have their own rules.
FLOORS = {
    "imfcodec": 0,
    "imfcodec.errors": 0,
    "imfcodec.config": 0,
    "imfcodec.frames": 0,
    "imfcodec.terminal": 0,
    "imfcodec.files": 0,
    "imfcodec.limits": 0,
    "imfcodec.interruption": 0,
    "imfcodec.workers": 0,
    "imfcodec.bitstream": 1,
    "imfcodec.entropy": 1,
    "imfcodec.video": 1,
    "imfcodec.nn": 1,
    "imfcodec.modelfile": 1,
    "imfcodec.models": 2,
    "imfcodec.zoo": 3,
    "imfcodec.latents": 3,
    "imfcodec.codec": 4,
    "imfcodec.progress": 4,
    "imfcodec.light": 4,
    "imfcodec.export": 5,
    "imfcodec.api": 5,
    "imfcodec.reports": 5,
    "imfcodec.batch": 5,
    "imfcodec.muxing": 5,
    "imfcodec.playing": 5,
    "imfcodec.web": 5,
    "imfcodec.cli": 6,
    "imfcodec.__main__": 7,
}
BESIDE = {
    "imfcodec.training": {"highest floor": 3, "imported by": {"imfcodec.training", "imfcodec.cli"}},
    "imfcodec.evaluation": {"highest floor": 5, "imported by": {"imfcodec.evaluation", "imfcodec.cli"}},
}
NO_TORCH = ("imfcodec.errors", "imfcodec.config", "imfcodec.frames", "imfcodec.files", "imfcodec.bitstream")
NO_TORCH += ("imfcodec.light", "imfcodec.models.roles", "imfcodec.models.structure")
NO_TORCH += tuple(f"imfcodec.codec.{name}" for name in ("chunks", "groups", "concealment", "losses"))
BYTES_AND_TENSORS_APART = ("imfcodec.bitstream", "imfcodec.video")


def module_name(path: Path) -> str:
    """Dotted name of a source file of the package."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path, *, top_only: bool = False) -> set[str]:
    """Absolute names a source file imports, `from a import b` as a.b; with `top_only` those that run on import."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = list(walk_outside_functions(tree)) if top_only else list(ast.walk(tree))
    found = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    for node in nodes:
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: write imports in full"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def walk_outside_functions(node: ast.AST):
    """Nodes that run when the module is imported: not inside functions, nor under `if TYPE_CHECKING`."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        yield child
        yield from walk_outside_functions(child)


def within(name: str, prefixes) -> str | None:
    """The longest of `prefixes` that is `name` or a package around it."""
    fitting = [prefix for prefix in prefixes if name == prefix or name.startswith(prefix + ".")]
    return max(fitting, key=len, default=None)


SOURCES = sorted(PACKAGE.rglob("*.py"))
MODULES = {module_name(path): path for path in SOURCES}


def floor_of(name: str) -> int:
    """Floor of a module, or of the module that holds a name."""
    module = within(name, MODULES)
    prefix = within(module, FLOORS)
    assert prefix != "imfcodec" or module == "imfcodec", f"{module} has no floor: add it to FLOORS"
    return FLOORS[prefix]


@pytest.mark.parametrize("module", MODULES)
def test_module_imports_only_from_its_floor_and_below(module):
    """Going up the stairs, and into the rooms beside them, is refused."""
    beside = within(module, BESIDE)
    highest = BESIDE[beside]["highest floor"] if beside else floor_of(module)
    for name in imports(MODULES[module]):
        if within(name, ["imfcodec"]) is None:
            continue
        room = within(name, BESIDE)
        if room:
            assert within(module, BESIDE[room]["imported by"]), f"{module} must not import {name}"
        else:
            assert floor_of(name) <= highest, f"{module} must not import {name} from a higher floor"


@pytest.mark.parametrize("module", MODULES)
def test_pyav_lives_in_video_alone(module):
    """Only imfcodec/video speaks to FFmpeg."""
    uses = within("av", {name.split(".")[0] for name in imports(MODULES[module])})
    assert uses is None or within(module, ["imfcodec.video"])


@pytest.mark.parametrize("module", [name for name in MODULES if within(name, NO_TORCH)])
def test_ground_floor_bitstream_and_light_decoder_never_touch_torch(module):
    """A stream can be inspected, and decoded with an exported model, without torch."""
    assert not {"torch", "compressai"} & {name.split(".")[0] for name in imports(MODULES[module])}


@pytest.mark.parametrize("module", [name for name in MODULES if within(name, BYTES_AND_TENSORS_APART)])
def test_bitstream_and_video_know_neither_models_nor_coder(module):
    """Bytes and pixels are kept apart from tensors."""
    forbidden = ("torch", "constriction", "imfcodec.nn", "imfcodec.entropy")
    assert not [name for name in imports(MODULES[module]) if within(name, forbidden)]


def test_models_emit_symbols_never_bytes():
    """Models, and the networks under them, import neither the coder nor the container."""
    forbidden = ("constriction", "imfcodec.entropy.coder", "imfcodec.bitstream", "imfcodec.video")
    for module, path in MODULES.items():
        if within(module, ("imfcodec.models", "imfcodec.nn")):
            assert not [name for name in imports(path) if within(name, forbidden)], module


def test_codec_never_imports_training():
    """No part of the codec, nor of what stands on it, needs the training code; the command line may start it."""
    for module, path in MODULES.items():
        if not within(module, ["imfcodec.training", "imfcodec.cli"]):
            assert not [name for name in imports(path) if within(name, ["imfcodec.training"])], module


def test_coding_starts_without_compressai():
    """CompressAI takes seconds to import; it trains priors and makes their tables, and whoever codes has those."""
    for module, path in MODULES.items():
        if not within(module, BESIDE):
            assert not [name for name in imports(path) if within(name, ["compressai"])], module


LIGHT = [name for name in MODULES if within(name, ["imfcodec.cli", "imfcodec.files"])]
LIGHT += ["imfcodec.__main__", "imfcodec.progress", "imfcodec.terminal", "imfcodec.interruption"]


@pytest.mark.parametrize("module", LIGHT)
def test_command_line_imports_nothing_heavy_at_top(module):
    """What `imfcodec --help` loads: the standard library and click, and modules of ours that hold to the same."""
    light = {*LIGHT, "imfcodec.errors", "imfcodec"}
    heavy = {"torch", "numpy", "av", "compressai", "constriction", "einops", "safetensors", "pytorch_msssim"}
    names = imports(MODULES[module], top_only=True)
    assert not heavy & {name.split(".")[0] for name in names}
    assert {within(name, MODULES) for name in names if within(name, ["imfcodec"])} <= light


def test_every_module_is_documented():
    """Each module with code in it opens with a docstring."""
    for module, path in MODULES.items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert not tree.body or ast.get_docstring(tree), f"{module} has no docstring"
