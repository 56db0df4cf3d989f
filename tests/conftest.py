"""One thread for every test and every process that a test starts, before any library counts the cores.

Property tests draw the same examples each time, so that they pass or fail for everyone alike; with PIG_FUZZ=N in the
environment they draw N new ones each.
"""

import os

from hypothesis import HealthCheck, Phase, settings

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

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
