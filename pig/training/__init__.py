"""One training loop for every network, on one process or several."""
