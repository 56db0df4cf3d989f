"""What bf16, the layout of the weights and the tile do to the speed of one thread: the networks of profile demo.

    python benchmarks/precision.py

Images a second of the process on the processor; the best of three goes, since other work can only slow one down.
Training is that of the guided network, whose loss calls the guider. `python benchmarks/page.py` makes the table.
"""

import time
from collections.abc import Callable
from itertools import product

import pandas as pd
import quality as Q
import torch

from pig.data.pairs import COLUMNS, Pairs
from pig.metrics import segmentation
from pig.models.method import Trained, denoiser, net, schedule
from pig.models.train import losses, start
from pig.training.fit import fit, recipe
from pig.training.ranks import ALONE

LAYOUTS = {"contiguous": torch.contiguous_format, "channels last": torch.channels_last}
NUMBER = 64  # of pairs


def rate(work: Callable[[], object], images: int) -> float:
    work()
    best = 0.0
    for _ in range(3):
        calls, began = 0, time.process_time()
        while (spent := time.process_time() - began) < 0.8:
            work()
            calls += 1
        best = max(best, calls * images / spent)
    return best


def measure(size: int, precision: str, layout: str) -> dict[str, float]:
    """Images a second, by what is done with them."""
    found, fast = dict[str, float](), {"precision": precision}
    table = pd.DataFrame({**dict.fromkeys(COLUMNS, ""), "id": [str(i) for i in range(NUMBER)]})
    pixels = torch.randint(256, (2, NUMBER, size, size), dtype=torch.uint8).numpy()
    data, own = Pairs(pixels[0], pixels[1] < 26, table), Q.settings(sampling=fast)
    frozen = {"guider": Trained(net("guider").make(own).to(memory_format=LAYOUTS[layout]).eval(), "x0")}
    model = start("guided", own, frozen, Q.CPU).to(memory_format=LAYOUTS[layout])
    called = denoiser(Trained(model.eval(), "x0"), schedule(own.process), own.sampling, True).model
    for tile in (4, 8, 16, 32):
        x, t = torch.randn(tile, 1, size, size), torch.full((tile,), 9)
        found[f"sampling, tile {tile}"] = rate(torch.no_grad()(lambda x=x, t=t: called(x, x, t)), tile)
    for batch, draws in ((8, 64), (16, 256), (32, 1024)):
        long = {**fast, "batch": batch, "steps": 10**6, "validate_every": 10**6}
        own = Q.laid_over(own, {"training": {**long, "validation_draws": draws}, "segmentation": long})
        loss, validate = losses("guided", frozen, own, data, data, Q.CPU, ALONE)
        steps = fit(model, loss, NUMBER, recipe(own.training, NUMBER)).__next__
        found[f"training, batch {batch}"] = rate(steps, batch)
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            found[f"validation, {draws} draws"] = rate(lambda v=validate: v(model.eval()), draws)
        parts = own.segmentation.encoder, own.segmentation.depth, own.segmentation.decoder_channels
        other = segmentation.build(*parts, (size, size)).to(memory_format=LAYOUTS[layout])
        loss = segmentation.training_loss(segmentation.examples(data), 0.0)
        steps = fit(other, loss, NUMBER, recipe(own.segmentation, NUMBER)).__next__
        found[f"segmenter, batch {batch}"] = rate(steps, batch)
    return found


def rates_table(found: dict[str, dict[str, dict[str, float]]]) -> str:
    ways = [f"{precision}, {layout}" for precision, layout in product(("fp32", "bf16"), LAYOUTS)]
    rows = [[key, *(f"{cell[way]:.0f}" for way in ways)] for key, cell in found.get("cells", {}).items()]
    return Q.markdown(["images a second", *ways], rows)


if __name__ == "__main__":
    cells: dict[str, dict[str, float]] = {}
    for size, precision, layout in product((48, 64), ("fp32", "bf16"), LAYOUTS):
        for what, speed in measure(size, precision, layout).items():
            cells.setdefault(f"{size}x{size}, {what}", {})[f"{precision}, {layout}"] = round(speed, 1)
        Q.keep("precision", {"machine": Q.machine(), "cells": cells})
