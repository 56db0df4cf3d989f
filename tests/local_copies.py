"""Small trees in the form of the public data sets, with synthetic pixels, as a user would have them on disk."""

import io
import plistlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from PIL import Image
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, DigitalMammographyXRayImageStorageForPresentation, ExplicitVRLittleEndian

ROOT = "1.2.826.0.1.3680043.8.498."  # of the UIDs
H, W = 60, 44


def written(write: Callable[..., object], *given: object, **more: object) -> bytes:
    """What `write` writes into an open binary file."""
    file = io.BytesIO()
    write(file, *given, **more)
    return file.getvalue()


def encoded(kind: str, pixels: np.ndarray, **more: object) -> bytes:
    """An image file; kind: PNG, JPEG, .."""
    return written(Image.fromarray(pixels).save, kind, **more)


# --- any images ---

NOISE = np.random.default_rng(0).integers(1, 255, (40, 60), dtype=np.uint8)  # no blank border
LESION = np.zeros((40, 60), bool)
LESION[8:24, 20:36] = True


def two_folders(root: Path, *stems: str) -> tuple[Path, Path]:
    """images/ and masks/ with a good pair of each stem."""
    for name, pixels in (("images", NOISE), ("masks", LESION)):
        (root / name).mkdir()
        for stem in stems:
            Image.fromarray(pixels).save(root / name / f"{stem}.png")
    return root / "images", root / "masks"


def breast(side: str = "L", seed: int = 0) -> np.ndarray:
    """(H, W) float in [0, 1]: a textured half ellipse at the left edge (right for R), air is 0."""
    y, x = np.mgrid[:H, :W]
    inside = ((y - H / 2) / (0.42 * H)) ** 2 + (x / (0.7 * W)) ** 2 < 1
    values = (0.35 + 0.1 * np.random.default_rng(seed).random((H, W))) * inside
    return values if side == "L" else values[:, ::-1]


def disc(y: float, x: float, radius: float) -> np.ndarray:
    rows, columns = np.mgrid[:H, :W]
    return (rows - y) ** 2 + (columns - x) ** 2 <= radius**2


def dicom(pixels: np.ndarray, compress: UID | None = None, **tags: object) -> bytes:
    """A file of `pixels`, (H, W) or (frames, H, W) of grey; `tags` go over what is set here."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID, ds.SOPInstanceUID = DigitalMammographyXRayImageStorageForPresentation, ROOT + "9"
    ds.PatientName, ds.PatientID, ds.SeriesInstanceUID = "Anon", "nobody", ROOT + "1"
    ds.set_pixel_data(pixels, "MONOCHROME2", 8 * pixels.dtype.itemsize, generate_instance_uid=False)
    for name, value in tags.items():
        setattr(ds, name, value)
    if compress is not None:
        ds.compress(compress, generate_instance_uid=False)
    return written(ds.save_as, enforce_file_format=True)


def write_dicom(path: Path, *given: object, **tags: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(dicom(*given, **tags))
    return path


def window_of(centre: float, width: float) -> Dataset:
    """An item of a functional groups sequence with a window."""
    levels, item = Dataset(), Dataset()
    levels.WindowCenter, levels.WindowWidth = centre, width
    item.FrameVOILUTSequence = [levels]
    return item


def change(table: Path, **columns: object) -> None:
    """Set values of the first row of a CSV file; "_" in a name stands for a space."""
    rows = pd.read_csv(table, dtype=str)
    for name, value in columns.items():
        rows.loc[0, name if name in rows else name.replace("_", " ")] = str(value)
    rows.to_csv(table, index=False)


# --- CBIS-DDSM ---


class Lesion(NamedTuple):
    """A mass. files: its crop and mask share a series, in either order, or have one each ("apart")."""

    patient: str
    side: str
    view: str
    number: int
    at: tuple[int, int]
    files: str

    @property
    def image(self) -> str:
        return f"Mass-Training_{self.patient}_{self.side}_{self.view}"

    def uid(self, what: str) -> str:
        """SeriesInstanceUID of the image, or of the lesion's mask or crop."""
        kind = 0 if what == "image" else 2 if (what, self.files) == ("crop", "apart") else 1
        key = int(self.patient[2:]) * 10 + (self.side == "RIGHT")
        return f"{ROOT}{key}.{kind}.{self.number if kind else 0}"

    def ids(self, what: str) -> dict[str, str]:
        name = self.image if what == "image" else f"{self.image}_{self.number}"
        return {"PatientID": name, "SeriesInstanceUID": self.uid(what)}

    def pixels(self) -> dict[str, np.ndarray]:
        """Image uint16, mask and crop uint8."""
        image = (breast(self.side[0]) * 50000).astype(np.uint16)
        crop = image[self.at[0] - 5 :, self.at[1] - 5 :][:11, :11]
        mask = disc(*self.at, 4).astype(np.uint8) * 255
        return {"image": image, "mask": mask, "crop": (crop >> 8).astype(np.uint8)}


LESIONS = [  # three images of two patients, the first with two lesions
    Lesion("P_00001", "LEFT", "CC", 1, (20, 10), "crop, mask"),
    Lesion("P_00001", "LEFT", "CC", 2, (38, 15), "mask, crop"),
    Lesion("P_00001", "RIGHT", "MLO", 1, (30, 30), "crop, mask"),
    Lesion("P_00007", "LEFT", "MLO", 1, (30, 12), "apart"),
]


def cbis_table(folder: Path, lesions: Sequence[Lesion]) -> Path:
    rows = []
    for each in lesions:
        told = {"patient_id": each.patient, "left or right breast": each.side, "image view": each.view}
        told |= {"mass shape": "OVAL", "pathology": "MALIGNANT" if each.number == 1 else "BENIGN"}
        ends = {"image": "000000.dcm", "cropped image": "000000.dcm", "ROI mask": "000001.dcm\n"}
        for name, end in ends.items():
            ids = each.ids({"cropped image": "crop", "ROI mask": "mask"}.get(name, name))
            told[f"{name} file path"] = f"{ids['PatientID']}/{ROOT}77/{ids['SeriesInstanceUID']}/{end}"
        rows.append(told)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "mass_case_description_train_set.csv"
    pd.DataFrame(rows).to_csv(path, index=False)
    assert '.dcm\n"' in path.read_text()  # the newline within quotes
    return path


def cbis_dicom(
    root: Path, lesions: Sequence[Lesion] = LESIONS, compress: UID | None = None, **tags: object
) -> Path:
    """The tree as it is downloaded: other folders than the table's, one series a folder, files 1-1, 1-2."""
    for i, each in enumerate(lesions):
        pixels, tree = each.pixels(), root / "CBIS-DDSM"
        path = tree / each.image / "08-07-2016-DDSM-NA-96009" / "1.0-full mammogram images-1" / "1-1.dcm"
        write_dicom(path, pixels["image"], compress, **each.ids("image"), **tags)
        place = tree / f"{each.image}_{each.number}" / f"08-07-2016-DDSM-NA-{i}"
        apart = each.files == "apart"
        for number, what in enumerate(("mask", "crop") if apart else each.files.split(", "), 1):
            name = f"{number}.0/1-1.dcm" if apart else f"1.0/1-{number}.dcm"
            write_dicom(place / name, pixels[what], **each.ids(what), **tags)
    return cbis_table(root, lesions)


def cbis_jpeg(root: Path, lesions: Sequence[Lesion] = LESIONS, quality: int = 90) -> None:
    """The popular layout: csv/ and jpeg/<SeriesInstanceUID>/ with files of any numbers."""
    cbis_table(root / "csv", lesions)
    for i, each in enumerate(lesions):
        for number, (what, pixels) in enumerate(each.pixels().items()):
            if what == "image":
                if each.number > 1:
                    continue
                pixels = (pixels >> 8).astype(np.uint8)
            path = root / "jpeg" / each.uid(what) / f"{number}-{100 + i}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path, quality=quality)


# --- INbreast ---


def inbreast(root: Path, **tags: object) -> None:
    """Four mammograms of two patients: two masses; one mass; calcifications only; no file of outlines."""
    one, other = "a1b2c3d4e5f60718", "ffee0011aabbccdd"
    files = [
        ("20586908", one, "L", "CC", [("Mass", 20, 10), ("Mass", 40, 8), ("Calcification", 30, 30)]),
        ("20586934", one, "R", "ML", [("Spiculated Region", 20, 30), ("Mass ", 30, 30)]),
        ("20586960", other, "L", "ML", [("Cluster", 30, 10)]),
        ("20586986", other, "R", "CC", None),
    ]
    lines = ["Patient ID;Patient age;Laterality;View;Acquisition date;File Name;ACR;Bi-Rads "]
    for grade, (number, who, side, view, regions) in enumerate(files, 2):
        path = root / "AllDICOMs" / f"{number}_{who}_MG_{side}_{view}_ANON.dcm"
        write_dicom(path, (breast(side) * 4000).astype(np.uint16), BitsStored=14, HighBit=13, **tags)
        lines.append(f"removed;removed;{side};{view};200801;{number};3 ;{grade}")
        if regions is not None:
            outlines(root, number, [{"Name": name, **_square(y, x)} for name, y, x in regions])
    (root / "INbreast.csv").write_text("\n".join(lines) + "\n")


def outlines(root: Path, number: str, rois: list[dict]) -> Path:
    path = root / "AllXML" / f"{number}.xml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(plistlib.dumps({"Images": [{"ImageIndex": 0, "NumberOfROIs": len(rois), "ROIs": rois}]}))
    return path


def _square(y: float, x: float, half: float = 5) -> dict:
    corners = [(x - half, y - half), (x + half, y - half), (x + half, y + half), (x - half, y + half)]
    return {"NumberOfPoints": 4, "Point_px": [f"({a:f}, {b:f})" for a, b in corners]}


# --- BCS-DBT ---

FRAMES = 5


class View(NamedTuple):
    """turned: the file has the chest wall on the wrong side. boxes: frame, x, y, width, height."""

    patient: str
    study: str
    name: str
    turned: bool
    boxes: list[tuple[int, int, int, int, int]]

    def volume(self) -> np.ndarray:
        """(FRAMES, H, W) uint16 as it should lie: a breast, with a bright disc in each box of a frame."""
        volume = []
        for frame in range(FRAMES):
            pixels = breast(self.name[0].upper(), frame)
            pixels = pixels * 1000 + 10 * frame * (pixels > 0)
            for at, x, y, width, height in self.boxes:
                if at == frame:
                    bright = disc(y + height / 2 - 0.5, x + width / 2 - 0.5, min(width, height) / 2 - 1)
                    pixels[bright] = 900
            volume.append(pixels)
        return np.stack(volume).astype(np.uint16)


VIEWS = [  # of two patients
    View("DBT-P00013", "DBT-S00163", "lcc2", False, [(2, 6, 20, 9, 7)]),
    View("DBT-P00013", "DBT-S00163", "rmlo", True, [(1, 25, 15, 8, 8), (1, 30, 35, 6, 6), (4, 28, 40, 5, 7)]),
    View("DBT-P00024", "DBT-S01237", "lmlo", False, []),
    View("DBT-P00024", "DBT-S01237", "lcc", True, [(0, 8, 22, 7, 7)]),
]


def bcs_dbt(
    root: Path,
    views: Sequence[View] = VIEWS,
    compress: UID | None = None,
    classic: bool = False,
    **tags: object,
) -> None:
    """Tables and files; `classic`: files lie at the classic path instead of the descriptive one."""
    root.mkdir(parents=True, exist_ok=True)
    paths, boxes = [], []
    for i, each in enumerate(views):
        key, top = each[:3], f"Breast-Cancer-Screening-DBT/{each.patient}"
        places = [
            f"{top}/01-01-2000-{each.study}-MAMMO screening-{i}/1.000000-NA-{i}/1-1.dcm",
            f"{top}/{ROOT}{i}/{ROOT}{i}.1/1-1.dcm",
        ]
        paths.append([*key, *places])
        for frame, *box in each.boxes:
            boxes.append([*key, 0, frame, *box, "benign" if i else "cancer", int(len(boxes) == 2), FRAMES])
        volume, groups, laterality = each.volume(), window_of(500, 1000), Dataset()
        laterality.FrameLaterality = "R" if each.name[0] == "l" else "L"  # wrong, as some are
        groups.FrameAnatomySequence = [laterality]
        stored = np.ascontiguousarray(volume[:, ::-1, ::-1] if each.turned else volume)
        shared = {"SharedFunctionalGroupsSequence": [groups]}
        write_dicom(root / places[int(classic)], stored, compress, **shared | tags)
    names = ["PatientID", "StudyUID", "View"]
    numbers = ["Subject", "Slice", "X", "Y", "Width", "Height", "Class", "AD", "VolumeSlices"]
    for kind, rows, more in [
        ("file-paths", paths, ["descriptive_path", "classic_path"]),
        ("boxes", boxes, numbers),
    ]:
        pd.DataFrame(rows, columns=[*names, *more]).to_csv(root / f"BCS-DBT-{kind}-train-v2.csv", index=False)
