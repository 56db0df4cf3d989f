"""In which precision a network computes: what `precision: auto` of params.yaml means on this machine."""

import re
from functools import cache
from pathlib import Path

import torch

from pig.core.errors import InputError

MULTIPLIES = {
    "amx_bf16",
    "avx512_bf16",
}  # flags of a processor: without one bf16 is many times slower than fp32
AMPERE = (8, 0)  # the first GPUs that compute in bf16


@cache
def cpuinfo() -> str:
    """What Linux tells of the processor; elsewhere nothing."""
    told = Path("/proc/cpuinfo")
    return told.read_text(encoding="utf-8", errors="replace") if told.is_file() else ""


def decided(wanted: str, device: torch.device, told: str | None = None) -> str:
    """`wanted`, fp32 or bf16; of `auto` bf16 where the device's hardware multiplies it, else fp32.

    told: what is known of the processor, in the words of /proc/cpuinfo; None: that file.
    """
    if wanted != "auto":
        return wanted
    if device.type == "cuda":
        return "bf16" if torch.cuda.get_device_capability(device) >= AMPERE else "fp32"
    flags = re.search(r"^flags\s*:(.*)", cpuinfo() if told is None else told, re.MULTILINE)
    multiplies = device.type == "cpu" and flags and MULTIPLIES & set(flags[1].split())
    return "bf16" if multiplies else "fp32"


def going_on(wanted: str, begun: str | None, device: torch.device, section: str, state: object) -> str:
    """The precision of a run that goes on from `state`, which was begun in `begun`; None: it starts anew.

    Raises:
        InputError: under `auto` it was begun in bf16, for which this machine has no hardware.
    """
    here = decided(wanted, device)
    if begun == "bf16" and here == "fp32":
        raise InputError(
            f"{state}: begun in bf16, for which this machine has no hardware; remove it to start anew, "
            f"or set {section}.precision: bf16 to go on slowly"
        )
    return begun or here
