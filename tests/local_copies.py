"""Small trees in the form of the public data sets, with synthetic pixels, as a user would have them on disk."""

import plistlib
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, DigitalMammographyXRayImageStorageForPresentation, ExplicitVRLittleEndian

ROOT = "1.2.826.0.1.3680043.8.498."  # of the UIDs
H, W = 60, 44


def breast(side: str = "L", height: int = H, width: int = W, seed: int = 0) -> np.ndarray:
    """(height, width) float in [0, 1]: a textured half ellipse at the left edge (right for R), air is 0."""
    y, x = np.mgrid[:height, :width]
    inside = ((y - height / 2) / (0.42 * height)) ** 2 + (x / (0.7 * width)) ** 2 < 1
    values = (0.35 + 0.1 * np.random.default_rng(seed).random((height, width))) * inside
    return values if side == "L" else values[:, ::-1]


def disc(shape: tuple[int, int], y: float, x: float, radius: float) -> np.ndarray:
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return (rows - y) ** 2 + (columns - x) ** 2 <= radius**2


def write_dicom(path: Path, pixels: np.ndarray, compress: UID | None = None, **tags: object) -> None:
    """`pixels`, (H, W) or (frames, H, W), unsigned; `tags` go over what is set here, None takes a tag out."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID = DigitalMammographyXRayImageStorageForPresentation
    ds.file_meta.MediaStorageSOPInstanceUID = ROOT + "9"
    ds.SOPClassUID, ds.SOPInstanceUID = DigitalMammographyXRayImageStorageForPresentation, ROOT + "9"
    ds.PatientName, ds.PatientID, ds.SeriesInstanceUID = "Anon", "nobody", ROOT + "1"
    ds.Rows, ds.Columns = pixels.shape[-2:]
    if pixels.ndim == 3:
        ds.NumberOfFrames = len(pixels)
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    bits = 8 * pixels.dtype.itemsize
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = bits, bits, bits - 1
    ds.PixelRepresentation = int(pixels.dtype.kind == "i")
    for name, value in tags.items():
        setattr(ds, name, value)
    ds.PixelData = pixels.tobytes()
    ds["PixelData"].VR = "OW" if bits > 8 else "OB"
    if compress is not None:
        ds.compress(compress, generate_instance_uid=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    ds.save_as(path, enforce_file_format=True)


def window_of(centre: float, width: float) -> Dataset:
    """An item of a functional groups sequence with a window."""
    levels = Dataset()
    levels.WindowCenter, levels.WindowWidth = centre, width
    item = Dataset()
    item.FrameVOILUTSequence = [levels]
    return item


# --- CBIS-DDSM ---

CBIS_COLUMNS = [
    "patient_id",
    "breast_density",
    "left or right breast",
    "image view",
    "abnormality id",
    "abnormality type",
    "mass shape",
    "mass margins",
    "assessment",
    "pathology",
    "subtlety",
    "image file path",
    "cropped image file path",
    "ROI mask file path",
]


def cbis_lesions() -> list[dict]:
    """Three images of two patients, the first with two lesions; the last one's crop and mask are in two series."""
    return [
        {"patient": "P_00001", "side": "LEFT", "view": "CC", "lesion": 1, "at": (20, 10), "crop_first": True},
        {
            "patient": "P_00001",
            "side": "LEFT",
            "view": "CC",
            "lesion": 2,
            "at": (38, 15),
            "crop_first": False,
        },
        {
            "patient": "P_00001",
            "side": "RIGHT",
            "view": "MLO",
            "lesion": 1,
            "at": (30, 30),
            "crop_first": True,
        },
        {"patient": "P_00007", "side": "LEFT", "view": "MLO", "lesion": 1, "at": (30, 12), "apart": True},
    ]


def cbis_uid(lesion: dict, kind: int) -> str:
    """SeriesInstanceUID of an image (kind 0), or of a lesion's mask (1) or crop (2)."""
    key = int(lesion["patient"][2:]) * 10 + (lesion["side"] == "RIGHT")
    return f"{ROOT}{key}.{kind}.{lesion['lesion'] if kind else 0}"


def cbis_pixels(lesion: dict) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Image uint16, mask and crop uint8 of a lesion."""
    image = (breast(lesion["side"][0]) * 50000).astype(np.uint16)
    mask = disc(image.shape, *lesion["at"], 4)
    crop = (image[lesion["at"][0] - 5 :, lesion["at"][1] - 5 :][:11, :11] >> 8).astype(np.uint8)
    return image, (mask * 255).astype(np.uint8), crop


def cbis_table(path: Path, lesions: list[dict]) -> None:
    rows = []
    for each in lesions:
        name = f"Mass-Training_{each['patient']}_{each['side']}_{each['view']}"
        crop = cbis_uid(each, 2 if each.get("apart") else 1)
        study = ROOT + "77"
        own = f"{name}_{each['lesion']}"
        image = f"{name}/{study}/{cbis_uid(each, 0)}/000000.dcm"
        places = [
            image,
            f"{own}/{study}/{crop}/000000.dcm",
            f"{own}/{study}/{cbis_uid(each, 1)}/000001.dcm\n",
        ]
        told = [
            each["patient"],
            3,
            each["side"],
            each["view"],
            each["lesion"],
            "mass",
            "OVAL",
            "SPICULATED",
            4,
        ]
        rows.append([*told, "MALIGNANT" if each["lesion"] == 1 else "BENIGN", 4, *places])
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows, columns=CBIS_COLUMNS).to_csv(path, index=False)
    assert '.dcm\n"' in path.read_text()  # the newline within quotes


def cbis_dicom(root: Path, lesions: list[dict], compress: UID | None = None, **tags: object) -> None:
    """The tree as it is downloaded: other folders than the table's, one series a folder, files 1-1, 1-2."""
    cbis_table(root / "mass_case_description_train_set.csv", lesions)
    for i, each in enumerate(lesions):
        image, mask, crop = cbis_pixels(each)
        name = f"Mass-Training_{each['patient']}_{each['side']}_{each['view']}"
        own = f"{name}_{each['lesion']}"
        tree = root / "CBIS-DDSM"
        place = tree / name / "08-07-2016-DDSM-NA-96009" / "1.000000-full mammogram images-1"
        ids = {"PatientID": name, "SeriesInstanceUID": cbis_uid(each, 0)}
        write_dicom(place / "1-1.dcm", image, compress, **ids, **tags)
        place = tree / own / f"08-07-2016-DDSM-NA-{i}" / "1.000000-ROI mask images-2"
        ids = {"PatientID": own, "SeriesInstanceUID": cbis_uid(each, 1)}
        if each.get("apart"):
            write_dicom(place / "1-1.dcm", mask, **ids, **tags)
            write_dicom(
                place.parent / "2" / "1-1.dcm", crop, **{**ids, "SeriesInstanceUID": cbis_uid(each, 2)}
            )
        else:
            first, second = (crop, mask) if each["crop_first"] else (mask, crop)
            write_dicom(place / "1-1.dcm", first, **ids, **tags)
            write_dicom(place / "1-2.dcm", second, **ids, **tags)


def cbis_jpeg(root: Path, lesions: list[dict], quality: int = 90) -> None:
    """The popular layout: csv/ and jpeg/<SeriesInstanceUID>/ with files of any numbers."""
    cbis_table(root / "csv" / "mass_case_description_train_set.csv", lesions)
    for i, each in enumerate(lesions):
        image, mask, crop = cbis_pixels(each)
        last = (each["lesion"], cbis_uid(each, 2 if each.get("apart") else 1))
        for number, (pixels, uid) in enumerate(
            [((image >> 8).astype(np.uint8), cbis_uid(each, 0)), (mask, cbis_uid(each, 1)), (crop, last[1])]
        ):
            if number == 0 and each["lesion"] > 1:
                continue
            path = root / "jpeg" / uid / f"{number}-{100 + i}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path, quality=quality)


# --- INbreast ---


def inbreast(root: Path, patient: str = "a1b2c3d4e5f60718", **tags: object) -> None:
    """Four mammograms of two patients: two masses; one mass; calcifications only; no file of outlines."""
    files = [
        (
            "20586908",
            patient,
            "L",
            "CC",
            [("Mass", (20, 10)), ("Mass", (40, 8)), ("Calcification", (30, 30))],
        ),
        ("20586934", patient, "R", "ML", [("Spiculated Region", (20, 30)), ("Mass ", (30, 30))]),
        ("20586960", "ffee0011aabbccdd", "L", "ML", [("Cluster", (30, 10))]),
        ("20586986", "ffee0011aabbccdd", "R", "CC", None),
    ]
    for number, who, side, view, regions in files:
        pixels = (breast(side) * 4000).astype(np.uint16)
        write_dicom(
            root / "AllDICOMs" / f"{number}_{who}_MG_{side}_{view}_ANON.dcm",
            pixels,
            BitsStored=14,
            HighBit=13,
            **tags,
        )
        if regions is not None:
            rois = [{"Name": name, **_square(*at)} for name, at in regions]
            path = root / "AllXML" / f"{number}.xml"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(
                plistlib.dumps({"Images": [{"ImageIndex": 0, "NumberOfROIs": len(rois), "ROIs": rois}]})
            )
    lines = ["Patient ID;Patient age;Laterality;View;Acquisition date;File Name;ACR;Bi-Rads "]
    lines += [
        f"removed;removed;{side};{'MLO' if view == 'ML' else view};200801;{number};3 ;{grade}"
        for grade, (number, _, side, view, _) in enumerate(files, 2)
    ]
    (root / "INbreast.csv").write_text("\n".join(lines) + "\n")


def _square(y: float, x: float, half: float = 5) -> dict:
    corners = [(x - half, y - half), (x + half, y - half), (x + half, y + half), (x - half, y + half)]
    return {"NumberOfPoints": 4, "Point_px": [f"({a:f}, {b:f})" for a, b in corners]}


# --- BCS-DBT ---

FRAMES = 5


def bcs_views() -> list[dict]:
    """Four views of two patients. turned: the file has the chest wall on the wrong side; boxes: frame, x, y, w, h."""
    return [
        {
            "patient": "DBT-P00013",
            "study": "DBT-S00163",
            "view": "lcc2",
            "turned": False,
            "boxes": [(2, 6, 20, 9, 7)],
        },
        {
            "patient": "DBT-P00013",
            "study": "DBT-S00163",
            "view": "rmlo",
            "turned": True,
            "boxes": [(1, 25, 15, 8, 8), (1, 30, 35, 6, 6), (4, 28, 40, 5, 7)],
        },
        {"patient": "DBT-P00024", "study": "DBT-S01237", "view": "lmlo", "turned": False, "boxes": []},
        {
            "patient": "DBT-P00024",
            "study": "DBT-S01237",
            "view": "lcc",
            "turned": True,
            "boxes": [(0, 8, 22, 7, 7)],
        },
    ]


def bcs_volume(view: dict) -> np.ndarray:
    """(FRAMES, H, W) uint16 as it should lie: a breast, with a bright disc in each box of a frame."""
    volume = []
    for frame in range(FRAMES):
        pixels = breast(view["view"][0].upper(), seed=frame) * 1000 + 10 * frame * (
            breast(view["view"][0].upper()) > 0
        )
        for at, x, y, width, height in view["boxes"]:
            if at == frame:
                pixels[
                    disc(pixels.shape, y + height / 2 - 0.5, x + width / 2 - 0.5, min(width, height) / 2 - 1)
                ] = 900
        volume.append(pixels)
    return np.stack(volume).astype(np.uint16)


def bcs_dbt(
    root: Path, views: list[dict], compress: UID | None = None, classic: bool = False, **tags: object
) -> None:
    """Tables and files; `classic`: files lie at the classic path instead of the descriptive one."""
    root.mkdir(parents=True, exist_ok=True)
    paths, boxes = [], []
    for i, each in enumerate(views):
        key = (each["patient"], each["study"], each["view"])
        places = [
            f"Breast-Cancer-Screening-DBT/{key[0]}/01-01-2000-{key[1]}-MAMMO screening-{i}/1.000000-NA-{i}/1-1.dcm",
            f"Breast-Cancer-Screening-DBT/{key[0]}/{ROOT}{i}/{ROOT}{i}.1/1-1.dcm",
        ]
        paths.append([*key, *places])
        for frame, *box in each["boxes"]:
            boxes.append([*key, 0, frame, *box, "benign" if i else "cancer", int(len(boxes) == 2), FRAMES])
        volume = bcs_volume(each)
        stored = volume[:, ::-1, ::-1] if each["turned"] else volume
        groups = window_of(500, 1000)
        laterality = Dataset()
        laterality.FrameLaterality = "R" if each["view"][0] == "l" else "L"  # wrong, as some are
        groups.FrameAnatomySequence = [laterality]
        write_dicom(
            root / places[int(classic)],
            np.ascontiguousarray(stored),
            compress,
            SharedFunctionalGroupsSequence=[groups],
            **tags,
        )
    names = ["PatientID", "StudyUID", "View"]
    pd.DataFrame(paths, columns=[*names, "descriptive_path", "classic_path"]).to_csv(
        root / "BCS-DBT-file-paths-train-v2.csv", index=False
    )
    numbers = ["Subject", "Slice", "X", "Y", "Width", "Height", "Class", "AD", "VolumeSlices"]
    pd.DataFrame(boxes, columns=[*names, *numbers]).to_csv(root / "BCS-DBT-boxes-train-v2.csv", index=False)
