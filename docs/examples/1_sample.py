"""Sample pairs from a trained model, and save them as images."""

from pathlib import Path

from PIL import Image

import pig

model = pig.load("models/pig")  # a folder that `pig export` wrote
folder = Path("samples")
folder.mkdir(exist_ok=True)
for i, (mask, image) in enumerate(model.sample(16, seed=0)):
    Image.fromarray(image).save(folder / f"{i:03d}.png")
    Image.fromarray(mask).save(folder / f"{i:03d}_mask.png")  # black and white
