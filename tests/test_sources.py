"""A user's files: matched, checked, cropped and resized without losing a lesion."""

from pathlib import Path

import numpy as np
import pytest
from local_copies import LESION, NOISE, two_folders
from PIL import Image

from pig.data.readers.folder import find_folder, read_all, read_patients
from pig.data.readers.pixels import NOT_TWO, UnusableError, crop_box, lesion, resize, resize_mask, window

BUSI = Path(__file__).parents[1].parent / "shared" / "data" / "busi"
PNG = Path("some.png")


@pytest.fixture
def folders(tmp_path) -> tuple[Path, Path]:
    return two_folders(tmp_path, "a", "b", "c (1)")


def save(path: Path, pixels: np.ndarray, **options: object) -> None:
    Image.fromarray(pixels).save(path, **options)


def read(folders: tuple[Path, Path], patients=None, size=(40, 60), crop=True):
    found = find_folder(*(list(folder.iterdir()) for folder in folders), patients)
    return read_all(found, size, crop_box if crop else None)


# --- formats ---


@pytest.mark.parametrize("suffix", ["png", "tif", "TIFF", "bmp", "jpg"])
def test_files_keep_their_pixels_and_jpeg_nearly(folders, suffix):
    (folders[0] / "a.png").unlink()
    smooth = np.add.outer(np.arange(40), np.arange(60)).astype(np.uint8) + np.uint8(60)
    save(folders[0] / f"a.{suffix}", smooth, **({"quality": 95} if suffix == "jpg" else {}))
    pairs, rejected = read(folders)
    assert not rejected
    assert np.abs(pairs.images[0].astype(int) - smooth).max() <= (4 if suffix == "jpg" else 0)
    assert (pairs.images[1:] == NOISE).all() and (pairs.masks == LESION).all()
    assert list(pairs.table["id"]) == ["a", "b", "c_1_"]
    assert pairs.table["file"][0] == f"a.{suffix}"


def test_colour_is_read_as_grey(folders):
    save(folders[0] / "a.png", np.stack([NOISE] * 3, axis=2))
    save(folders[0] / "b.png", np.dstack([NOISE] * 3 + [np.full_like(NOISE, 255)]))
    red = np.zeros((40, 60, 3), np.uint8)
    red[..., 0] = np.arange(60) * 4
    save(folders[0] / "c (1).png", red)
    pairs, rejected = read(folders, crop=False)
    assert not rejected
    assert (pairs.images[:2] == NOISE).all()
    np.testing.assert_allclose(pairs.images[2], 0.299 * red[..., 0], atol=0.6)  # ITU-R BT.601


def test_sixteen_bits_are_seen_through_the_images_own_window(folders):
    deep = NOISE.astype(np.uint16) * 13 + 700
    save(folders[0] / "a.png", deep)
    deep[0, 0] = 65535  # a hot pixel
    save(folders[0] / "b.tif", deep)
    (folders[0] / "b.png").unlink()
    pairs, rejected = read(folders)
    assert not rejected
    stretched = (NOISE - 1.0) / 253 * 255
    assert np.abs(pairs.images[0] - stretched).max() <= 2
    assert np.abs(pairs.images[1] - stretched)[0, 1:].max() <= 2


@pytest.mark.parametrize("kind", [np.uint16, np.int16, np.float32])
def test_window_is_linear_between_percentiles_and_falls_back_on_the_extremes(kind):
    ramp = np.linspace(-500 if kind != np.uint16 else 0, 3000, 10001).astype(kind).reshape(1, -1)
    low, high = np.percentile(ramp, (0.1, 99.9))
    expected = 255 * np.clip((ramp.astype(float) - low) / (high - low), 0, 1)
    np.testing.assert_allclose(window(ramp, PNG), expected, atol=0.51)
    dot = np.zeros((100, 100), kind)
    dot[3, 4] = 9
    assert sorted(np.unique(window(dot, PNG), return_counts=True)[1]) == [1, 9999]
    with pytest.raises(UnusableError):
        window(np.full((5, 5), 7, kind), PNG)


# --- masks ---


def test_jpeg_noise_about_two_values_is_cut_and_more_is_refused():
    noisy = np.where(LESION, 255, 0) + np.random.default_rng(0).integers(-60, 61, LESION.shape)
    noisy = np.clip(noisy, 0, 255).astype(np.uint8)
    assert (lesion(noisy, Path("a.JPG")) == LESION).all()
    noisy[3, 3] = 128
    for bad in (noisy, np.where(LESION, 3, 0).astype(np.uint8)):
        with pytest.raises(UnusableError, match=NOT_TWO):
            lesion(bad, Path("a.jpg"))


# --- crop ---


def test_blank_borders_are_cut_from_both(folders):
    for stem, pad in {"a": ((5, 3), (0, 21)), "b": ((0, 0), (7, 0)), "c (1)": ((1, 1), (1, 1))}.items():
        save(folders[0] / f"{stem}.png", np.pad(NOISE, pad))
        save(folders[1] / f"{stem}.png", np.pad(LESION, pad))
    pairs, rejected = read(folders)
    assert not rejected and (pairs.images == NOISE).all() and (pairs.masks == LESION).all()
    assert not (read(folders, crop=False)[0].images[0] == NOISE).all()


@pytest.mark.parametrize("level", [0, 9, 250])
def test_crop_finds_the_breast_under_dust_a_label_and_faint_noise(level):
    rng = np.random.default_rng(1)
    image = (level + rng.integers(-2, 3, (200, 300))).clip(0, 255).astype(np.uint8)
    image[40:150, 0:120] = rng.integers(60, 200, (110, 120))
    image[[3, 60, 190], [290, 250, 5]] = 128  # dust
    nothing = np.zeros(image.shape, bool)
    assert crop_box(image, nothing) == (slice(40, 150), slice(0, 120))


def test_crop_never_cuts_the_lesion_and_leaves_a_full_frame_alone():
    dark = np.zeros((50, 50), np.uint8)
    dark[20:30, 20:30] = 200
    low_corner = np.zeros((50, 50), bool)
    low_corner[44, 3] = True
    assert crop_box(dark, low_corner) == (slice(20, 45), slice(3, 30))
    assert crop_box(NOISE, np.zeros(NOISE.shape, bool)) == (slice(0, 40), slice(0, 60))


# --- size ---


def test_shrinking_takes_the_mean_over_a_pixels_area():
    image = np.random.default_rng(0).random((24, 36)).astype(np.float32)
    mean = image.reshape(8, 3, 9, 4).mean(axis=(1, 3))
    np.testing.assert_allclose(resize(image, (8, 9)), mean, rtol=1e-5)
    uneven = resize(image, (7, 11))
    assert uneven.mean() == pytest.approx(image.mean(), rel=1e-5)


def test_one_side_may_grow_while_the_other_shrinks():
    ramp = np.tile(np.arange(40, dtype=np.float32)[:, None], (1, 6))
    out = resize(ramp, (10, 24))
    assert out.shape == (10, 24)
    np.testing.assert_allclose(out[:, 5], 1.5 + 4 * np.arange(10))


def test_mask_pixels_are_those_covered_by_half():
    mask = np.zeros((40, 40), bool)
    mask[6:21, 7:30] = True
    cover = mask.reshape(10, 4, 10, 4).mean(axis=(1, 3))
    assert (resize_mask(mask, (10, 10)) == (cover >= 0.5)).all()
    assert (resize_mask(mask, (40, 40)) == mask).all()
    grown = resize_mask(mask, (80, 120)) != np.kron(mask, np.ones((2, 3), bool))
    assert grown.sum() <= 4  # only corners may be rounded


def test_a_small_lesion_or_part_keeps_its_best_covered_pixel():
    mask = np.zeros((640, 640), bool)
    mask[100:300, 100:300] = True
    mask[458:463, 17:21] = True  # rows 458, 459 of one pixel's ten, 460..462 of the next
    mask[600, 600] = True
    out = resize_mask(mask, (64, 64))
    assert out.sum() == 400 + 2
    assert out[46, 1]
    assert out[60, 60]
    thin = np.zeros((640, 640), bool)
    thin[5:600, 333] = True
    assert resize_mask(thin, (64, 64)).sum() == 1


# --- files ---


def test_masks_are_matched_by_stem_or_suffix_also_in_one_folder():
    names = ["a.png", "a_mask.png", "b.tif", "b_mask.jpg", "notes.txt"]
    together = [Path("all") / name for name in names]
    found = find_folder(together, together, None)
    files = [[path.name for path in each.read.args] for each in found.slices]
    assert files == [["a.png", "a_mask.png"], ["b.tif", "b_mask.jpg"]] and not found.rejected


def test_every_file_that_cannot_be_used_is_named_with_its_reason(folders):
    images, masks = folders
    save(images / "lone.png", NOISE)
    save(masks / "widow.png", LESION)
    save(images / "a.tif", NOISE)
    save(images / "c_1_.png", NOISE)
    save(masks / "c_1_.png", LESION)
    for stem in ("broken", "pages", "clear", "strange"):
        save(images / f"{stem}.png", NOISE)
        save(masks / f"{stem}.png", LESION)
    (images / "broken.png").write_bytes((images / "a.png").read_bytes()[:900])
    (images / "pages.png").unlink()
    save(images / "pages.tif", NOISE, save_all=True, append_images=[Image.fromarray(NOISE)])
    save(masks / "clear.png", np.dstack([np.zeros((40, 60, 3), np.uint8), LESION.astype(np.uint8)]))
    (images / "strange.png").unlink()
    save(images / "strange.tif", np.where(LESION, np.nan, 1).astype(np.float32))
    pairs, rejected = read(folders, {path.stem: "p" for path in images.iterdir() if path.stem != "b"})
    kinds = {error.path.relative_to(images.parent).as_posix(): error.kind for error in rejected}
    assert kinds == {
        "images/lone.png": "image without a mask",
        "masks/widow.png": "mask without an image",
        "images/a.tif": "name of another image",
        "images/c_1_.png": "id of another image",
        "images/b.png": "image without a patient",
        "images/broken.png": "broken file",
        "images/pages.tif": "file of several images",
        "masks/clear.png": "transparent image",
        "images/strange.tif": "NaN or infinity",
    }
    assert list(pairs.table["id"]) == ["a", "c_1_"]


# --- patients ---


@pytest.mark.parametrize("text", ["stem,group\na,1\nb.c,1\n", "n,image,patient\n0,a.PNG, 1\n1,b.c.tif,1\n"])
def test_patients_are_read_by_stem_or_file_name(tmp_path, text):
    path = tmp_path / "patients.csv"
    path.write_text(text)
    assert read_patients(path) == {"a": "1", "b.c": "1"}


@pytest.mark.skipif(not BUSI.is_dir(), reason="no ../shared/data/busi beside the repository")
def test_busi_images_become_pairs_with_their_groups():
    names = [f"{kind}_{i:03d}.png" for kind in ("benign", "malignant") for i in range(1, 25)]
    files = [[BUSI / kind / name for name in names] for kind in ("images", "masks")]
    pairs, rejected = read_all(find_folder(*files, read_patients(BUSI / "groups.csv")), (64, 64), crop_box)
    assert not rejected
    assert len(pairs) == 48
    assert pairs.table["patient"].nunique() < len(pairs)
    for name, mask in zip(pairs.table["file"], pairs.masks, strict=True):
        truth = np.asarray(Image.open(BUSI / "masks" / name)).mean()
        assert mask.mean() == pytest.approx(truth, rel=0.15, abs=0.003)
