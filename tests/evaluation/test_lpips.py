"""LPIPS with a backbone of random weights: the plumbing, not the figures of the paper."""

import sys

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models.alexnet import AlexNet

from imfcodec.errors import InputError, UsageError
from imfcodec.evaluation.metrics import compare_frame_streams
from imfcodec.evaluation.perceptual import Lpips
from imfcodec.evaluation.synthetic import talking_face, talking_face_format


@pytest.fixture(scope="module")
def alexnet():
    """AlexNet's layers of features with random weights."""
    torch.manual_seed(0)
    with torch.device("meta"):
        features = AlexNet().features
    features = features.to_empty(device="cpu")
    for layer in features:
        if isinstance(layer, nn.Conv2d):
            layer.reset_parameters()
    return features.eval()


@pytest.fixture(scope="module")
def alexnet_file(alexnet, tmp_path_factory):
    path = tmp_path_factory.mktemp("alexnet") / "alexnet.pth"
    torch.save({f"features.{name}": value for name, value in alexnet.state_dict().items()}, path)
    return path


@pytest.fixture(scope="module")
def lpips(alexnet_file):
    return Lpips(alexnet_file)


@pytest.fixture
def pictures():
    return np.random.default_rng(0).integers(0, 256, (2, 64, 48, 3), np.uint8)


def test_the_weights_of_the_file_are_used(alexnet, lpips, pictures):
    """The first layer's share of the distance, worked out by hand."""
    scaled = torch.from_numpy(pictures / 127.5 - 1).permute(0, 3, 1, 2).float()
    shift, scale = torch.tensor([[-0.030, -0.088, -0.188], [0.458, 0.448, 0.450]]).view(2, 1, 3, 1, 1)
    with torch.inference_mode():
        first, second = nn.functional.normalize(alexnet[:2]((scaled - shift) / scale), dim=1)
        expected = (lpips._network.lin0.model[-1].weight[0] * (first - second) ** 2).sum(0).mean()
        _, shares = lpips._network(scaled[:1], scaled[1:], retPerLayer=True)
    assert float(shares[0]) == pytest.approx(float(expected), rel=1e-4)


def test_distance(lpips, pictures):
    """None between equal pictures, the same in both directions, less for less noise."""
    first, second = pictures
    assert lpips.measure(first, first) == 0
    assert lpips.measure(first, second) == pytest.approx(lpips.measure(second, first))
    assert 0 < lpips.measure(first, first ^ 1) < lpips.measure(first, second)


@pytest.mark.parametrize(("side", "expected"), [(30, False), (31, True)])
def test_small_pictures_have_none(lpips, side, expected):
    picture = np.zeros((side, 40, 3), np.uint8)
    assert (lpips.measure(picture, picture) is not None) == expected


def test_it_is_measured_beside_the_other_metrics(lpips):
    """Where a network is given, and only there."""
    frames = list(talking_face(talking_face_format(64, 64), 2))
    assert compare_frame_streams(frames, frames, lpips=lpips).mean.lpips == 0
    assert compare_frame_streams(frames, frames, all_metrics=True).mean.lpips is None


def test_other_files_are_refused(tmp_path):
    """One line that says which file is wanted."""
    with pytest.raises(InputError, match=r"missing.pth cannot be read; give torchvision's alexnet-owt"):
        Lpips(tmp_path / "missing.pth")
    torch.save({"features.0.weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(InputError, match=r"other.pth does not hold the weights of AlexNet"):
        Lpips(tmp_path / "other.pth")


def test_without_the_package_there_is_one_line(monkeypatch, alexnet_file):
    monkeypatch.setitem(sys.modules, "lpips", None)
    with pytest.raises(UsageError, match=r"install it with: pip install 'imfcodec\[bench\]'"):
        Lpips(alexnet_file)
