"""LPIPS: distance between two pictures in the features of a network, fitted to what people find alike."""

import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from imfcodec.errors import InputError, UsageError
from imfcodec.nn.state import read_state

ALEXNET_FILE = "alexnet-owt-7be5be79.pth"
"""What torchvision calls the file with AlexNet's weights that were trained on ImageNet."""

LPIPS_MIN_SIDE = 31
"""AlexNet's two poolings leave nothing of smaller pictures."""


class Lpips:
    """LPIPS 0.1 with AlexNet, the variant its authors recommend for measuring; lower is better.

    The package lpips brings the fitted weights of the layers; those of AlexNet are read from a file, never downloaded.

    Args:
        path: state dict of torchvision's `alexnet`; its classifier is not needed.
    Raises:
        UsageError: the package lpips is not installed.
        InputError: the file cannot be read or is of another network.
    Source: Zhang et al., "The unreasonable effectiveness of deep features as a perceptual metric", 2018.
    """

    def __init__(self, path: Path) -> None:
        try:
            import lpips
        except ImportError:
            raise UsageError("LPIPS needs the package lpips; install it with: pip install 'imfcodec[bench]'") from None
        state = read_state(path, f"torchvision's {ALEXNET_FILE}")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # lpips calls torchvision in a way of the past
            self._network = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False)
        trunk = self._network.net
        try:
            # "slice2.3.weight" is torchvision's "features.3.weight".
            trunk.load_state_dict({name: state[f"features.{name.partition('.')[2]}"] for name in trunk.state_dict()})
        except (KeyError, RuntimeError):
            raise InputError(
                f"{path} does not hold the weights of AlexNet; give torchvision's {ALEXNET_FILE}"
            ) from None

    def measure(self, reference: npt.NDArray[np.uint8], distorted: npt.NDArray[np.uint8]) -> float | None:
        """Distance of two RGB pictures, uint8 [H, W, 3], from 0; None when a side is below LPIPS_MIN_SIDE."""
        if min(reference.shape[:2]) < LPIPS_MIN_SIDE:
            return None
        with torch.inference_mode():
            return float(self._network(*(_to_tensor(rgb) for rgb in (reference, distorted))))


def _to_tensor(rgb: npt.NDArray[np.uint8]) -> Tensor:
    """Float32 [1, 3, H, W], -1..1, which is what LPIPS takes."""
    return torch.from_numpy(rgb.astype(np.float32)).permute(2, 0, 1)[None] / 127.5 - 1
