"""The graphs of an exported model: their names, and those of what goes in and comes out.

All are float32 with the batch first; `qindex` [B], `role` [B] and `number` [] are int64. Batch, height and width are
free. Integer networks compute whole numbers in float32, exactly. docs/light.md says what each value is.
"""

from typing import NamedTuple


class Graph(NamedTuple):
    """Names of inputs and outputs, in order."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


MEMORY = ("keys_32", "values_32", "keys_16", "values_16", "field")
REFERENCE = ("luma", "chroma", *MEMORY)
ALIGNED = ("luma", "chroma", "copies", "features")

_FIRST = tuple(f"first_{name}" for name in REFERENCE)
_SECOND = tuple(f"second_{name}" for name in REFERENCE)

GRAPHS = {
    "token_rows": Graph(("first_g", "first_u", "second_g", "second_u", "g_planes", "u_planes"), ("g_rows", "u_rows")),
    "predict_from_one": Graph(("g", "u", *_FIRST), ALIGNED),
    "predict_from_two": Graph(("g", "u", "place", *_FIRST, *_SECOND), ALIGNED),
    "token_frame": Graph((*ALIGNED, "qindex"), ("shown_luma", "shown_chroma")),
    "latent_shared": Graph(
        ("hyper", "near", "luma", "chroma", "features", "role", "qindex"), ("mean_context", "row_context")
    ),
    "latent_pass": Graph(("decoded", "symbols", "mean_context", "row_context", "number"), ("mean", "rows")),
    "reference_frame": Graph(("y", *ALIGNED, "qindex"), ("shown_luma", "shown_chroma", "features_32", "features_16")),
    "remember": Graph(("g", "u", "features_32", "features_16"), MEMORY),
    "picture_features": Graph(("luma", "chroma"), ("features_32", "features_16")),
    "motion": Graph(("earlier", "later"), ("g", "u")),
}
CONCEALING = ("picture_features", "motion")
"""Those that only lost frames need; of `motion` the batch is 1."""
