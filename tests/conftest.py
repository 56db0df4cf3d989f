"""One thread for every test and every process that a test starts, before any library counts the cores."""

import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"


def pytest_configure(config):
    config.addinivalue_line("markers", "slurm: starts a real Slurm of one node, if PIG_TEST_SLURM=1")
