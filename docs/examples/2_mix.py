"""Train a segmenter of one's own on real and generated pairs."""

import torch
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.utils.data import DataLoader

import pig

model = pig.load("models/pig")  # of fold 0, whose training patients are the real pairs here
real = pig.PairDataset("runs/demo/pairs.zip", split="runs/demo/split.csv", fold=0, role="train")
generated = pig.PairDataset(model.sample(16, seed=0))

segmenter = torch.nn.Sequential(
    torch.nn.Conv2d(1, 16, 5, padding=2), torch.nn.ReLU(), torch.nn.Conv2d(16, 1, 5, padding=2)
)
optimizer = torch.optim.Adam(segmenter.parameters(), lr=0.01)
for batch in DataLoader(real + generated, batch_size=8, shuffle=True):
    loss = binary_cross_entropy_with_logits(segmenter(batch["image"]), batch["mask"])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(f"{loss.item():.3f}")
