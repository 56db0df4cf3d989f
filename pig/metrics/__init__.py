"""One file a metric: how close, how well paired, how useful for segmentation, how copied."""
