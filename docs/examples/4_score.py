"""FID between two folders of images, with the features and the distance of Table 1."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from pig.metrics.features import features, find_weights, inception
from pig.metrics.fidelity import frechet_distance

extractor = inception(find_weights(None, {}), torch.device("cpu"))


def of(folder):
    """(N, 2048) features of the N images in a folder."""
    images = [np.asarray(Image.open(path).convert("L")) for path in sorted(Path(folder).glob("*.png"))]
    return np.stack([feature for _, feature in sorted(features(images, extractor, batch=4))])


real, others, mine = of("real"), of("real_others"), of("mine")
print(f"FID {frechet_distance(mine, real):.1f}, of other real images {frechet_distance(others, real):.1f}")
