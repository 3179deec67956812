"""Stores, samples, their rendering, and batches that depend on the seed and the step alone."""

import itertools
import json
import os
from dataclasses import replace

import av
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from imfcodec.errors import InputError, UsageError
from imfcodec.training.augment import render
from imfcodec.training.config import DataConfig
from imfcodec.training.dataset import DICE, GroupShape, StoredClip, as_pictures, load_store
from imfcodec.training.loader import GroupLoader
from imfcodec.training.prepare import open_stores, prepare
from imfcodec.training.sampling import CURVES, Colour, Motion, Sample, Sampler

CROP = 64
PLAIN = DataConfig(crop=CROP, batch=4, workers=0, reverse=0, mirror=0, stills=0, zoom=0, colour=0)
ALL = replace(PLAIN, reverse=0.5, mirror=0.5, stills=0.3, zoom=0.5, colour=0.5)


def smooth_frames(count, height, width):
    """Frames with a number in the corner of each plane, and slopes and waves elsewhere, uint8 [T, H * W * 3 / 2]."""
    y, x = np.mgrid[:height, :width]
    waves = 128 + 50 * np.sin(x / 9) * np.cos(y / 7) + x / 8
    chroma = waves[::2, ::2] / 2 + 60
    planes = np.concatenate([waves.reshape(-1), chroma.reshape(-1), 255 - chroma.reshape(-1)])
    return np.clip(planes + 2 * np.arange(count)[:, None], 0, 255).astype(np.uint8)


def make_store(folder, clips):
    """A store from {name: (frames, height, width)}, all of `smooth_frames`."""
    folder.mkdir()
    for name, shape in clips.items():
        np.save(folder / f"{name}.npy", smooth_frames(*shape))
    (folder / "index.json").write_text(json.dumps(clips))
    return load_store(folder)


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """A store of videos and one of photos."""
    root = tmp_path_factory.mktemp("stores")
    videos = make_store(root / "videos", {"long": (30, 80, 112), "short": (4, 96, 72), "small": (40, 48, 96)})
    return [videos, make_store(root / "photos", {"large": (1, 160, 128), "tight": (1, 64, 70)})]


def save_photo(path, height, width):
    """A grey picture of noise; the suffix names the format."""
    noise = np.random.default_rng(3).integers(0, 256, (height, width, 1), np.uint8)
    av.VideoFrame.from_ndarray(noise.repeat(3, 2), "rgb24").save(str(path))


class Shapes:
    """Groups of three frames over a few spans."""

    def shape(self, generator):
        return GroupShape((0, 1, int(generator.choice([2, 8]))))


def take(loader, count=4, first=0):
    return list(itertools.islice(loader.batches(first), count))


def same(first, second):
    return (
        first.step == second.step
        and first.shape == second.shape
        and torch.equal(first.frames, second.frames)
        and torch.equal(first.dice, second.dice)
    )


def sample_of(clip, **changes):
    plain = Sample(clip, (0,), top=0, left=0, side=CROP, scaled=CROP, mirror=False, colour=None, motion=None)
    return replace(plain, **changes)


def luma_of(group):
    return group[:, : CROP * CROP].reshape(-1, CROP, CROP)


def draws(stores, config, offsets, count=40):
    sampler = Sampler(stores, config)
    return [sampler.draw(np.random.default_rng([5, i]), offsets) for i in range(count)]


class TestLoader:
    def test_workers_and_held_frames_change_nothing(self, stores):
        alone = take(GroupLoader(stores, ALL, Shapes(), 7))
        state = torch.get_rng_state()
        for config in (replace(ALL, workers=2), replace(ALL, frames_on_device="yes")):
            assert all(map(same, alone, take(GroupLoader(stores, config, Shapes(), 7))))
        assert torch.equal(state, torch.get_rng_state())

    def test_a_run_goes_on_at_any_step(self, stores):
        loader = GroupLoader(stores, ALL, Shapes(), 7)
        assert all(map(same, take(loader, 4)[2:], take(loader, 2, first=2)))

    def test_steps_and_seeds_differ(self, stores):
        first, second = take(GroupLoader(stores, ALL, Shapes(), 7), 2)
        other = take(GroupLoader(stores, ALL, Shapes(), 8), 1)[0]
        assert len({float(batch.dice.sum()) for batch in (first, second, other)}) == 3
        assert len({tuple(row.tolist()) for row in first.dice}) == len(first.dice)

    def test_processes_share_the_batch_of_one(self, stores):
        whole = take(GroupLoader(stores, ALL, Shapes(), 7), 2)
        parts = [take(GroupLoader(stores, ALL, Shapes(), 7, rank, 2), 2) for rank in (0, 1)]
        for batch, *shares in zip(whole, *parts, strict=True):
            assert torch.equal(batch.frames, torch.cat([share.frames for share in shares]))
            assert torch.equal(batch.dice, torch.cat([share.dice for share in shares]))

    def test_a_batch_gives_pictures(self, stores):
        batch = take(GroupLoader(stores, ALL, Shapes(), 7), 1)[0]
        assert batch.frames.shape == (4, 3, CROP * CROP * 3 // 2) and batch.frames.dtype == torch.uint8
        assert batch.dice.shape == (4, DICE) and batch.dice.min() >= 0 and batch.dice.max() < 1
        pictures = batch.pictures()
        assert len(pictures) == 3
        expected = as_pictures(batch.frames[:, 2].numpy(), CROP, CROP)
        assert torch.equal(pictures[2].luma, expected.luma) and torch.equal(pictures[2].chroma, expected.chroma)
        assert pictures[2].luma.shape == (4, 1, CROP, CROP) and pictures[2].luma.abs().max() <= 0.5

    def test_wrong_configurations_are_refused(self, stores):
        with pytest.raises(UsageError, match="does not divide"):
            GroupLoader(stores, PLAIN, Shapes(), 0, 0, 3)
        with pytest.raises(UsageError, match="none of auto, yes, no"):
            GroupLoader(stores, replace(PLAIN, frames_on_device="maybe"), Shapes(), 0)

    @pytest.mark.parametrize("workers", [0, 1])
    def test_groups_longer_than_every_clip_are_refused(self, stores, workers):
        class TooLong:
            def shape(self, generator):
                return GroupShape((0, 30))

        with pytest.raises(InputError, match=r"^no training clip .* 31 frames .*videos$"):
            take(GroupLoader(stores, replace(PLAIN, workers=workers), TooLong(), 0), 1)


class TestSampling:
    def test_clips_too_small_or_too_short_are_passed_over(self, stores):
        assert {s.clip.name for s in draws(stores[:1], PLAIN, (0, 3))} == {"long", "short"}
        assert {s.clip.name for s in draws(stores[:1], PLAIN, (0, 4))} == {"long"}

    def test_crops_larger_than_every_clip_are_refused(self, stores):
        with pytest.raises(InputError, match="as large as the crop, 192x192"):
            Sampler(stores, replace(PLAIN, crop=192))

    def test_stores_share_by_weight_and_clips_by_the_root_of_their_length(self, stores):
        names = [s.clip.name for s in draws(stores, PLAIN, (0,), 600)]
        assert 0.4 < sum(name in ("large", "tight") for name in names) / 600 < 0.6
        assert 2 < names.count("long") / names.count("short") < 3.8  # the root of 30 / 4 is 2.7
        weighted = Sampler(stores, PLAIN, [0, 1])
        assert weighted.draw(np.random.default_rng(1), (0,)).clip in stores[1]

    def test_photos_join_longer_groups_by_chance_and_move(self, stores):
        samples = draws(stores, replace(PLAIN, stills=0.5), (0, 2), 100)
        moving = [s for s in samples if s.motion is not None]
        assert 30 < len(moving) < 70 and {s.clip.frames for s in moving} == {1}
        assert all(s.motion is not None for s in draws(stores[1:], PLAIN, (0, 2)))
        assert all(s.motion is None for s in draws(stores[1:], PLAIN, (0,)))

    def test_windows_are_even_and_lie_in_their_clips(self, stores):
        for s in draws(stores, ALL, (0, 2), 300):
            assert s.top % 2 == s.left % 2 == s.side % 2 == s.scaled % 2 == 0
            assert s.top + s.side <= s.clip.height and s.left + s.side <= s.clip.width
            assert s.scaled == CROP if s.motion is None else s.scaled >= CROP

    def test_time_runs_backwards_from_the_last_frame(self, stores):
        forwards, backwards = (draws(stores[:1], replace(PLAIN, reverse=chance), (0, 1, 3)) for chance in (0, 1))
        for one, other in zip(forwards, backwards, strict=True):
            start = one.times[0]
            assert one.times == (start, start + 1, start + 3) and other.times == (start + 3, start + 2, start)


class TestRendering:
    def test_plain_crops_are_exact(self, stores):
        for s in draws(stores, replace(PLAIN, mirror=0.5), (0,), 20):
            flip = slice(None, None, -1 if s.mirror else 1)
            half = [slice(start // 2, (start + CROP) // 2) for start in (s.top, s.left)]
            frame, size = s.clip.data[s.times[0]], s.clip.height * s.clip.width
            luma = frame[:size].reshape(s.clip.height, s.clip.width)
            chroma = frame[size:].reshape(2, s.clip.height // 2, s.clip.width // 2)[:, half[0], half[1]]
            window = luma[s.top : s.top + CROP, s.left : s.left + CROP]
            expected = np.concatenate([window[:, flip].reshape(-1), chroma[:, :, flip].reshape(-1)])
            assert np.array_equal(render(s, s.clip.data, CROP)[0].numpy(), expected)

    @pytest.mark.parametrize("change", ["none", "zoom", "motion"])
    def test_chroma_goes_with_luma(self, tmp_path, change):
        """Of a picture whose chroma is its halved luma."""
        y, x = np.mgrid[:128, :160]
        luma = 128 + 60 * np.sin(x / 25 + 1) * np.cos(y / 20)
        half = luma.reshape(64, 2, 80, 2).mean((1, 3)).reshape(-1)
        (tmp_path / "s").mkdir()
        np.save(tmp_path / "s" / "a.npy", np.concatenate([luma.reshape(-1), half, half])[None].round().astype(np.uint8))
        clip = StoredClip(tmp_path / "s" / "a.npy", 1, 128, 160)
        config = replace(PLAIN, mirror=0.5, zoom=float(change == "zoom"))
        for s in draws([[clip]], config, (0, 9) if change == "motion" else (0,), 10):
            picture = as_pictures(render(s, clip.data, CROP), CROP, CROP)
            halved = F.avg_pool2d(picture.luma, 2)
            assert (picture.chroma - halved).abs().max() < 6 / 255

    def test_photos_in_motion_give_different_frames_that_are_alike(self, stores):
        for s in draws(stores[1:], PLAIN, tuple(range(0, 17, 4)), 10):
            luma = luma_of(render(s, s.clip.data, CROP)).float()
            steps = (luma[1:] - luma[:-1]).abs().mean((1, 2))
            assert len(luma) == 5 and (steps > 0).all() and steps.max() < 40
            slow = replace(s, times=(8, 9))
            near = luma_of(render(slow, s.clip.data, CROP)).float()
            assert (near[1] - near[0]).abs().mean() < 12

    def test_a_photo_at_rest_is_its_middle(self, stores):
        clip = stores[1][0]
        rest = Motion(*np.array([0, 1, 0], np.float32)[:, None].repeat(CURVES, 1))
        s = sample_of(clip, times=(0, 5), top=10, left=20, side=96, scaled=96, motion=rest)
        middle = sample_of(clip, top=26, left=36)
        assert (render(s, clip.data, CROP) == render(middle, clip.data, CROP)).all()

    def test_scaling_keeps_the_range_and_a_flat_picture(self, tmp_path):
        flat = np.full((1, 96 * 96 * 3 // 2), 201, np.uint8)
        stripes = np.where(np.arange(96 * 96 * 3 // 2) // 8 % 2, 255, 0).astype(np.uint8)[None]  # 8 wide
        clip = StoredClip(tmp_path / "any.npy", 1, 96, 96)
        for side in (40, 80, 96):
            s = sample_of(clip, side=side)
            assert (render(s, flat, CROP) == 201).all()
            rows = luma_of(render(s, stripes, CROP))[0]
            assert rows.min() == 0 and rows.max() == 255
            assert (rows[0] > 127).int().diff().abs().sum() == side // 8 - 1  # no overshoot wraps around

    def test_enlarging_shows_the_window(self, stores):
        clip = stores[0][0]
        s = sample_of(clip, side=32, top=20, left=10)
        enlarged = luma_of(render(s, clip.data, CROP))[0].float()
        window = torch.from_numpy(
            clip.data[0, : clip.height * clip.width].reshape(clip.height, -1)[20:52, 10:42].copy()
        )
        assert (F.avg_pool2d(enlarged[None], 2)[0] - window).abs().max() < 4

    def test_colour_is_the_same_for_all_frames(self, stores):
        clip = stores[0][0]
        plain = sample_of(clip, times=(0, 3))
        changed = replace(plain, colour=Colour(contrast=1.2, brightness=-9.0, saturation=0.5, hue=0.0))
        before, after = (as_pictures(render(s, clip.data, CROP), CROP, CROP) for s in (plain, changed))
        middle = 0.5 / 255  # 128 is 0.5 level above the middle of 0..255
        expected = (before.luma - middle) * 1.2 + middle - 9 / 255
        assert (after.luma - expected.clamp(-0.5, 0.5)).abs().max() < 0.51 / 255
        assert (after.chroma - middle - (before.chroma - middle) / 2).abs().max() < 0.51 / 255
        turned = replace(plain, colour=Colour(contrast=1.0, brightness=0.0, saturation=1.0, hue=0.1))
        u, v = (as_pictures(render(turned, clip.data, CROP), CROP, CROP).chroma - middle).unbind(1)
        radius = (before.chroma - middle).square().sum(1).sqrt()
        assert ((u.square() + v.square()).sqrt() - radius).abs().max() < 1 / 255


class TestStores:
    @pytest.fixture
    def videos(self, tmp_path, face_y4m):
        """A folder with a video, two photos and a text."""
        folder = tmp_path / "videos"
        folder.mkdir()
        (folder / "face.y4m").write_bytes(face_y4m.read_bytes())
        save_photo(folder / "photo.png", 70, 91)
        save_photo(folder / "photo.jpg", 64, 48)
        (folder / "notes.txt").write_text("not a video")
        return folder

    def test_videos_and_photos_are_decoded_once(self, videos, tmp_path, face_frames, capsys):
        cache = tmp_path / "cache"
        clips, again = open_stores([videos, videos], cache)
        assert clips == again and open_stores([clips[0].path.parent], cache) == [clips]
        assert "left out" in capsys.readouterr().err
        shapes = {clip.name: (len(clip), clip.height, clip.width) for clip in clips}
        assert shapes == {"face.y4m": (10, 80, 96), "photo.jpg": (1, 64, 48), "photo.png": (1, 70, 90)}
        face = clips[0].data[9]
        assert np.array_equal(face[: 80 * 96].reshape(80, 96), face_frames[9].y)
        assert np.array_equal(face[-40 * 48 :].reshape(40, 48), face_frames[9].v)
        assert clips[0].path.parent.parent == cache and clips[0].path.parent.name.startswith("videos-")

    def test_only_what_changed_is_decoded_again(self, videos, tmp_path, face_y4m):
        cache = tmp_path / "cache"
        face, _, photo = open_stores([videos], cache)[0]
        os.utime(face.path, (1e9, 1e9))
        os.utime(videos / "face.y4m", (1e9 - 5, 1e9 - 5))
        os.utime(photo.path, (1e9, 1e9))
        save_photo(videos / "photo.png", 80, 80)
        (videos / "added.y4m").write_bytes(face_y4m.read_bytes())
        added, face, _, photo = open_stores([videos], cache)[0]
        assert added.name == "added.y4m" and (photo.height, photo.width) == (80, 80)
        assert face.path.stat().st_mtime == 1e9
        (videos / "face.y4m").unlink()
        assert [clip.name for clip in open_stores([videos], cache)[0]] == ["added.y4m", "photo.jpg", "photo.png"]

    def test_one_video_is_a_store(self, face_y4m, tmp_path):
        assert [[clip.name for clip in clips] for clips in open_stores([face_y4m], tmp_path)] == [["face.y4m"]]

    def test_nothing_to_read_is_an_error(self, tmp_path):
        (tmp_path / "empty").mkdir()
        with pytest.raises(InputError, match="empty: holds no video or photo"):
            open_stores([tmp_path / "empty"], tmp_path / "cache")
        with pytest.raises(InputError, match="missing: no such folder"):
            prepare(tmp_path / "missing", tmp_path / "store")

    def test_damaged_stores_are_refused(self, stores, tmp_path):
        with pytest.raises(InputError, match=r"has no index\.json"):
            load_store(tmp_path)
        make_store(tmp_path / "s", {"a": (3, 16, 16), "b": (1, 16, 16)})
        (tmp_path / "s" / "a.npy").write_bytes(b"cut off")
        with pytest.raises(InputError, match=r"a\.npy: is missing or cut off"):
            load_store(tmp_path / "s")
        for wrong in ("{", "[]", '{"a": [3, 16]}', '{"a": [0, 16, 16]}'):
            (tmp_path / "s" / "index.json").write_text(wrong)
            with pytest.raises(InputError, match=r"index\.json: is not"):
                load_store(tmp_path / "s")
