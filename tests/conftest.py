"""One thread for every test and every process that a test starts, before any library counts the cores; and a salt.

Property tests draw the same examples each time, so that they pass or fail for everyone alike; with PIG_FUZZ=N in the
environment they draw N new ones each.
"""

import os

from hypothesis import HealthCheck, Phase, settings

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

os.environ["PIG_SALT"] = "the salt of tests, known to all"  # so that no import makes a file of its own

for profile, more in {
    "same": {"derandomize": True, "max_examples": 50},
    "fuzz": {"print_blob": True, "max_examples": int(os.environ.get("PIG_FUZZ", 1))},
}.items():
    settings.register_profile(
        profile,
        database=None,
        deadline=None,  # as for slowness, a matter of the machine; no other check is left out
        suppress_health_check=[HealthCheck.too_slow],
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
        **more,
    )
settings.load_profile("fuzz" if "PIG_FUZZ" in os.environ else "same")


def pytest_configure(config):
    config.addinivalue_line("markers", "slurm: starts a real Slurm of one node, if PIG_TEST_SLURM=1")
