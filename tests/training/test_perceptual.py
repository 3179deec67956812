"""RGB, VGG distance, discriminator, adaptive augmentation and the critic made of them."""

import pytest
import torch
from torchvision.models.vgg import cfgs, make_layers

from imfcodec.errors import InputError
from imfcodec.nn.picture import Picture
from imfcodec.training.config import CriticConfig
from imfcodec.training.critic import PerceptualCritic
from imfcodec.training.discriminator import AUGMENTATIONS, AdaptiveAugment, Discriminator, adversarial_loss, hinge_loss
from imfcodec.training.perceptual import BT709, VggLoss, to_rgb

SIDE = 64


@pytest.fixture(scope="module")
def vgg_file(tmp_path_factory):
    """VGG-19 of random weights that keep activations at their size, without the classifier."""
    torch.manual_seed(0)
    state = {}
    for name, value in make_layers(cfgs["E"]).state_dict().items():
        gain = (2 / value[0].numel()) ** 0.5 if name.endswith("weight") else 0.0
        state[f"features.{name}"] = torch.randn_like(value) * gain
    path = tmp_path_factory.mktemp("vgg") / "vgg19.pth"
    torch.save(state, path)
    return path


@pytest.fixture(scope="module")
def vgg(vgg_file):
    return VggLoss(vgg_file)


def flat(y: int, u: int, v: int, side: int = SIDE) -> Picture:
    """A picture of one colour, given in 8 bits."""
    luma = torch.full((1, 1, side, side), y / 255 - 0.5)
    chroma = torch.tensor([u, v]).view(1, 2, 1, 1).expand(1, 2, side // 2, side // 2) / 255 - 0.5
    return Picture(luma, chroma)


def noise(batch: int = 1, side: int = SIDE) -> Picture:
    half = side // 2
    return Picture(torch.rand(batch, 1, side, side) - 0.5, torch.rand(batch, 2, half, half) - 0.5)


def leaf(picture: Picture) -> Picture:
    """The same samples, to be given a gradient."""
    return Picture(*(plane.clone().requires_grad_() for plane in picture))


def has_gradient(picture: Picture) -> bool:
    return all(plane.grad is not None and plane.grad.isfinite().all() and plane.grad.any() for plane in picture)


class TestRgb:
    @pytest.mark.parametrize(
        ("sample", "colour"),
        [
            ((235, 128, 128), (1, 1, 1)),
            ((16, 128, 128), (0, 0, 0)),
            ((81, 90, 240), (1, 0, 0)),
            ((145, 54, 34), (0, 1, 0)),
            ((41, 240, 110), (0, 0, 1)),
        ],
    )
    def test_colours_of_bt601(self, sample, colour):
        rgb = to_rgb(flat(*sample))
        assert rgb.shape == (1, 3, SIDE, SIDE) and rgb.dtype == torch.float32
        assert torch.allclose(rgb, torch.tensor(colour).float().view(1, 3, 1, 1), atol=0.01)

    def test_other_matrix_and_range(self):
        red = torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1)
        assert torch.allclose(to_rgb(flat(63, 102, 240), BT709), red, atol=0.01)
        assert torch.allclose(to_rgb(flat(76, 85, 255), full_range=True), red, atol=0.01)

    def test_clipped_colours_still_have_a_gradient(self):
        picture = leaf(flat(128, 255, 0))
        rgb = to_rgb(picture)
        assert rgb.min() == 0 and rgb.max() == 1
        rgb[:, 0].sum().backward()
        assert (picture.luma.grad > 0).all() and (picture.chroma.grad[:, 1] > 0).all()


class TestVgg:
    def test_identical_pictures_are_at_no_distance(self, vgg):
        rgb = to_rgb(noise())
        assert vgg(rgb, rgb) == 0

    def test_the_gradient_reaches_the_decoded_picture_only(self, vgg):
        decoded, target = leaf(noise()), leaf(noise())
        loss = vgg(to_rgb(decoded), to_rgb(target))
        loss.backward()
        assert loss > 0 and has_gradient(decoded) and target.luma.grad is None

    def test_a_scale_too_small_is_passed_over(self, vgg):
        once, nothing = torch.rand(2, 1, 3, 16, 16)
        assert vgg(once, nothing) > 0
        assert vgg(once[..., :15, :], nothing[..., :15, :]) == 0

    def test_layers_are_the_first_of_each_group(self, vgg):
        shapes = [tuple(x.shape[1:]) for x in vgg._features(torch.rand(1, 3, 32, 32))]
        assert shapes == [(64, 32, 32), (128, 16, 16), (256, 8, 8), (512, 4, 4), (512, 2, 2)]
        assert all(x.min() >= 0 for x in vgg._features(torch.rand(1, 3, 32, 32)))

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
    def test_the_loss_is_float32_under_autocast(self, vgg, dtype):
        decoded, target = torch.rand(2, 1, 3, 16, 16, dtype=dtype)
        decoded.requires_grad_()
        with torch.autocast("cpu", dtype):
            loss = vgg(decoded, target)
        loss.backward()
        assert loss.dtype == torch.float32 and decoded.grad.isfinite().all() and decoded.grad.any()

    def test_weights_are_frozen_and_not_saved(self, vgg):
        assert not list(vgg.parameters()) and not vgg.state_dict()

    def test_a_file_that_cannot_be_used_is_refused(self, tmp_path):
        path = tmp_path / "other.pth"
        with pytest.raises(InputError, match="cannot be read"):
            VggLoss(path)
        path.write_bytes(b"not weights")
        with pytest.raises(InputError, match=r"other.pth cannot be read; give torchvision's vgg19") as error:
            VggLoss(path)
        assert "\n" not in str(error.value)
        for state in ({"features.0.weight": torch.zeros(1)}, make_layers(cfgs["A"]).state_dict()):
            torch.save(state, path)
            with pytest.raises(InputError, match="does not hold the weights of VGG-19"):
                VggLoss(path)
        torch.save([], path)
        with pytest.raises(InputError, match=r"other.pth holds no weights; give torchvision's vgg19"):
            VggLoss(path)


class TestDiscriminator:
    def test_scores_of_two_scales(self):
        assert [tuple(s.shape) for s in Discriminator()(torch.rand(2, 3, 128, 64))] == [(2, 1, 8, 4), (2, 1, 4, 2)]

    def test_losses_of_known_scores(self):
        real, decoded = (
            [torch.tensor([2.0, 0.5]), torch.tensor([-1.0])],
            [torch.tensor([-3.0, 0.0]), torch.tensor([1.0])],
        )
        assert hinge_loss(real, decoded) == pytest.approx((0.25 + 2) / 2 + (0.5 + 2) / 2)
        assert adversarial_loss(decoded) == pytest.approx(-(-1.5 + 1) / 2)

    def test_it_learns_to_tell_noise_from_a_constant(self):
        critic = PerceptualCritic(CriticConfig())
        optimizer = torch.optim.Adam(critic.parameters(), 1e-3, betas=(0.5, 0.999))
        losses = []
        for _ in range(5):
            loss, _ = critic.discriminator_loss([flat(128, 128, 128)], [noise()])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert losses[-1] < 0.5 * losses[0]
        real, decoded = (critic.discriminator(to_rgb(p)) for p in (noise(), flat(128, 128, 128)))
        assert all(r.mean() > d.mean() for r, d in zip(real, decoded, strict=True))


class TestAugment:
    def test_the_chance_rises_when_all_real_pictures_are_known_and_falls_otherwise(self):
        augment = AdaptiveAugment(images=100)
        for _ in range(3):
            assert augment.adapt([torch.ones(4, 1, 4, 4), torch.ones(4, 1, 2, 2)]) == 1
        assert augment.p == pytest.approx(0.12)
        augment.adapt([torch.cat([torch.ones(3, 1, 1, 1), -torch.ones(1, 1, 1, 1)])])  # mean sign 0.5
        assert augment.p == pytest.approx(0.08)
        for _ in range(30):
            augment.adapt([-torch.ones(4, 1, 1, 1)])
        assert augment.p == 0

    def test_the_chance_is_saved(self):
        augment, other = AdaptiveAugment(), AdaptiveAugment()
        augment.p.fill_(0.25)
        other.load_state_dict(augment.state_dict())
        assert other.p == 0.25

    def test_pictures_pass_unchanged_at_no_chance_and_change_at_full(self):
        rgb, augment = torch.rand(4, 3, 32, 32), AdaptiveAugment()
        assert torch.equal(augment(rgb), rgb)
        augment.p.fill_(1.0)
        assert all((a != b).any() for a, b in zip(augment(rgb), rgb, strict=True))

    @pytest.mark.parametrize("augmentation", AUGMENTATIONS)
    def test_augmentations_are_differentiable(self, augmentation):
        rgb = torch.rand(4, 3, 32, 32, requires_grad=True)
        augmented = augmentation(rgb)
        assert augmented.shape == rgb.shape
        augmented.square().sum().backward()
        assert rgb.grad.isfinite().all() and (rgb.grad.flatten(1).norm(dim=1) > 0).all()

    def test_geometry_moves_samples_without_inventing_any(self):
        for augmentation in AUGMENTATIONS[:3]:
            rgb = torch.rand(4, 3, 32, 32)
            assert torch.isin(augmentation(rgb), rgb).all()


class TestCritic:
    def test_without_vgg_it_says_so_and_goes_on(self):
        critic = PerceptualCritic(CriticConfig())
        assert "vgg19" in critic.notice and "\n" not in critic.notice
        _, terms = critic.generator_loss([noise()], [noise()])
        assert set(terms) == {"critic/l1", "critic/gan"}

    def test_terms_are_weighted_and_give_gradients_to_the_pictures_alone(self, vgg_file):
        critic = PerceptualCritic(CriticConfig(str(vgg_file), l1=2, vgg=3, gan=4))
        assert critic.notice is None
        decoded = [leaf(noise()), leaf(noise())]
        loss, terms = critic.generator_loss(decoded, [noise(), noise()])
        assert loss.item() == pytest.approx(
            2 * terms["critic/l1"].item() + 3 * terms["critic/vgg"].item() + 4 * terms["critic/gan"].item(), rel=1e-5
        )
        loss.backward()
        assert all(has_gradient(picture) for picture in decoded)
        assert all(p.grad is None and p.requires_grad for p in critic.parameters())

    def test_the_discriminator_gives_no_gradient_to_pictures(self):
        critic, decoded = PerceptualCritic(CriticConfig(augment_images=10)), leaf(noise())
        loss, figures = critic.discriminator_loss([decoded], [noise()])
        loss.backward()
        assert decoded.luma.grad is None and all(p.grad is not None for p in critic.parameters())
        assert {"critic/discriminator", "critic/real_sign", "critic/augment"} == set(figures)

    def test_state_fits_a_critic_with_or_without_vgg(self, vgg_file):
        critic = PerceptualCritic(CriticConfig(str(vgg_file)))
        critic.augment.p.fill_(0.5)
        other = PerceptualCritic(CriticConfig())
        other.load_state_dict(critic.state_dict())
        assert other.augment.p == 0.5

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
    def test_losses_are_float32_under_autocast(self, dtype):
        critic = PerceptualCritic(CriticConfig())
        critic.augment.p.fill_(1.0)
        decoded = leaf(Picture(*(plane.to(dtype) for plane in noise())))
        with torch.autocast("cpu", dtype):
            ours, _ = critic.generator_loss([decoded], [noise()])
            theirs, _ = critic.discriminator_loss([decoded], [noise()])
        (ours + theirs).backward()
        assert ours.dtype == theirs.dtype == torch.float32
        assert has_gradient(decoded) and all(p.grad.isfinite().all() for p in critic.parameters())
