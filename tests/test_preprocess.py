"""Where the breast is, whatever is burnt in beside it; and lesions survive what follows."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from pig.data.pairs import Pairs
from pig.data.phantom.phantom import phantom
from pig.data.readers.breast import breast_box, mirror, side, small
from pig.data.readers.folder import Opened
from pig.data.readers.pixels import crop_box, resize_mask

NEAR = 2  # pixels that a crop may be off: the skin fades into air


def breast_and_box(view: str, seed: int) -> tuple[np.ndarray, tuple[slice, slice]]:
    """A phantom (160, 160) of which the air is cut, in a blank frame (260, 240), and where it is there."""
    image = phantom(1, [view], 1, 160, seed).images[0]
    rows, columns = (np.flatnonzero((image > 0).any(axis=axis)) for axis in (1, 0))
    image = image[rows[0] : rows[-1] + 1, : columns[-1] + 1]
    frame = np.zeros((260, 240), np.uint8)
    box = slice(50, 50 + image.shape[0]), slice(0, image.shape[1])
    frame[box] = image
    return frame, box


def near(found: tuple[slice, slice], box: tuple[slice, slice]) -> bool:
    ends = zip(found, box, strict=True)
    return all(abs(a.start - b.start) <= NEAR and abs(a.stop - b.stop) <= NEAR for a, b in ends)


@pytest.mark.parametrize(("view", "seed"), [("CC", 0), ("MLO", 1), ("MLO", 2)])
def test_the_crop_is_the_breast_with_a_label_beside_it(view, seed):
    frame, box = breast_and_box(view, seed)
    nothing = np.zeros(frame.shape, bool)
    assert near(breast_box(frame, nothing), box)
    drawn = Image.fromarray(frame)
    ImageDraw.Draw(drawn).multiline_text((185, 4), "L CC\n12:30\nSmith", fill=255)
    written = np.asarray(drawn)
    assert near(breast_box(written, nothing), box)
    assert not near(crop_box(written, nothing), box)  # the rule for folders keeps the label
    turned = tuple(slice(n - part.stop, n - part.start) for part, n in zip(box, frame.shape, strict=True))
    assert near(breast_box(written[::-1, ::-1], nothing), turned)


def test_the_white_edge_of_a_film_is_left_out_where_it_touches_nothing_or_the_breast():
    frame, box = breast_and_box("CC", 0)
    framed = frame.copy()
    framed[:3] = framed[-3:] = 255
    nothing = np.zeros(frame.shape, bool)
    assert near(breast_box(framed, nothing), box)
    framed[:, :3] = np.maximum(framed[:, :3], 255)  # a strip through the breast, from edge to edge
    rows, columns = breast_box(framed, nothing)
    assert abs(columns.stop - box[1].stop) <= NEAR
    reach = 9  # 3 % of 240 pixels, made odd: how far from the breast what is bright is kept
    assert box[0].start - reach <= rows.start
    assert rows.stop <= box[0].stop + reach


def test_the_crop_keeps_the_lesion_and_an_image_without_air():
    frame, box = breast_and_box("CC", 1)
    lesion = np.zeros(frame.shape, bool)
    lesion[250, 230] = True
    rows, columns = breast_box(frame, lesion)
    assert (rows.stop, columns.stop) == (251, 231)
    assert abs(rows.start - box[0].start) <= NEAR
    noise = np.random.default_rng(0).integers(60, 255, (40, 60), dtype=np.uint8)
    assert breast_box(noise, np.zeros(noise.shape, bool)) == (slice(0, 40), slice(0, 60))
    black = np.zeros((9, 9), np.uint8)
    assert breast_box(black, black > 0) == (slice(None), slice(None))


@pytest.mark.parametrize("size", [(32, 32), (48, 48), (64, 48), (128, 128), (512, 512)])
def test_lesions_of_all_sizes_survive_resizing_where_they_are(size):
    height, width = 1200, 900
    rows, columns = np.ogrid[:height, :width]
    scale = np.array(size) / (height, width)
    for radius in [0, 1, 2, 5, 13, 34, 55]:
        for y, x in [(60, 60), (611, 333), (1100, 820)]:
            mask = (rows - y) ** 2 + (columns - x) ** 2 <= radius**2
            out = resize_mask(mask, size)
            assert out.any(), (radius, y, x)
            centre = np.argwhere(out).mean(axis=0) + 0.5
            assert np.abs(centre - scale * (y + 0.5, x + 0.5)).max() <= 1
            expected = mask.sum() * scale.prod()
            assert abs(out.sum() - expected) <= max(1, 2 * np.pi * radius * scale.max())


def test_mirroring_flips_image_and_mask_of_the_side_whose_edge_column_sums_to_less():
    frame, _ = breast_and_box("CC", 0)
    assert [side(frame), side(frame[:, ::-1]), side(np.full((3, 3), 60000, np.uint16))] == ["L", "R", "L"]
    images = np.stack([frame, frame[:, ::-1]])
    table = phantom(1, ["CC"], 2, 16, 0).table
    masks = images > 100
    for to, expected in [("L", frame), ("R", frame[:, ::-1])]:
        out = mirror(Pairs(images, masks, table), to)
        assert (out.images == expected).all()
        assert (out.masks == (expected > 100)).all()
        assert out.table.equals(table)


def test_a_small_picture_keeps_the_places(tmp_path):
    frame, _ = breast_and_box("CC", 0)
    lesion = np.zeros(frame.shape, bool)
    lesion[100:140, 40:80] = True
    stored, outlined, box, cropped = small(Opened(frame * 10.0, frame, lesion), breast_box, longest=130)
    assert stored.shape == outlined.shape == (130, 120)
    np.testing.assert_array_equal(outlined, lesion[::2, ::2])
    rows, columns = breast_box(frame, lesion)
    assert (box[0].start, box[0].stop, box[1].stop) == (rows.start / 2, rows.stop / 2, columns.stop / 2)
    assert max(cropped.shape) == 130
    assert small(Opened(frame, frame, lesion), None)[2] == (slice(0, 260), slice(0, 240))
