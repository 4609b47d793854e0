"""Compute devices of torch: CPU, CUDA and Apple GPUs."""

import shutil
import sys
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import psutil
import torch
from torch.amp import is_autocast_available

from napari_n2n.defaults import MOST_MEMORY
from napari_n2n.errors import BadInput

_ALL_THREADS = torch.get_num_threads()


def choose_device(name: str) -> torch.device:
    """Return the torch device for the word in the settings.

    Parameters
    ----------
    name
        "auto" (CUDA, then MPS, then CPU), "cpu", "cuda", "cuda:1" for the second card, or "mps".

    Raises
    ------
    BadInput
        If the word is unknown, or the installed torch cannot use the device.
    """
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        name = next(kind for kind, usable in available.items() if usable)
    kind, colon, number = name.partition(":")
    if kind not in available or (colon and not (kind == "cuda" and number.isdecimal())):
        raise BadInput(
            f"device '{name}': unknown: choose auto, cpu, cuda, mps, or cuda:1 for the second card",
            "option",
        )
    if not available[kind]:
        built = " (this torch was built without CUDA)" if not torch.version.cuda else ""
        fix = unused_card() or "install a torch that supports it"
        raise BadInput(
            f"device '{name}': not available to torch {torch.__version__}{built}: "
            f"use --device auto, or {fix}",
            "device",
        )
    if number and int(number) >= (cards := torch.cuda.device_count()):
        have = "is one card: choose cuda"
        if cards > 1:
            have = f"are {cards} cards: choose cuda:0 to cuda:{cards - 1}"
        raise BadInput(f"device '{name}': there {have}", "device")
    return torch.device(name)


def device_names() -> list[str]:
    """Return "auto" and the names of the devices that torch can use on this computer."""
    names = ["auto", "cpu"]
    if torch.cuda.is_available():
        count = torch.cuda.device_count()
        names += ["cuda", *(f"cuda:{number}" for number in range(count if count > 1 else 0))]
    return [*names, "mps"] if torch.backends.mps.is_available() else names


def unused_card() -> str | None:
    """Return how to make torch use an NVIDIA card; None if torch uses it or there is no card."""
    if torch.version.cuda or torch.version.hip or shutil.which("nvidia-smi") is None:
        return None
    # By default pip installs a torch with CUDA on Linux only.
    index = " --index-url https://download.pytorch.org/whl/cu126" if sys.platform == "win32" else ""
    return (
        "install a torch that can use this computer's NVIDIA card: "
        f"pip install --force-reinstall torch{index}"
    )


def computes_in_bfloat16(device: torch.device) -> bool:
    """Return whether a device has bfloat16 instructions, which make training faster.

    Without them torch emulates bfloat16, which is slower than float32. NVIDIA cards have them from
    compute capability 8 on (Ampere, 2020).
    """
    if device.type == "cpu":
        known: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # since torch 2.11
        return bool(known.get("avx512_bf16") or known.get("amx_bf16"))
    return device.type == "cuda" and torch.cuda.get_device_capability(device)[0] >= 8


def out_of_memory(device: torch.device | str, fix: str = "") -> BadInput:
    """Return the error for a device with too little memory.

    Parameters
    ----------
    device
        The device.
    fix
        A further fix, besides closing other programs and using the CPU.
    """
    fixes = f"close other programs that use it, {f'{fix}, ' if fix else ''}or use --device cpu"
    return BadInput(f"{device}: not enough memory: {fixes}", "memory")


def release_memory(device: torch.device) -> None:
    """Free the memory that torch has reserved on the device, after it ran out of memory."""
    if device.type == "cuda":
        torch.cuda.empty_cache()


def wait_for(device: torch.device) -> None:
    """Wait until a device has finished all queued work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def use_threads(number: int) -> None:
    """Set the number of CPU threads of torch; 0 for torch's default.

    Call it in the thread that computes.
    """
    torch.set_num_threads(number or _ALL_THREADS)


def check_memory(memory: float) -> None:
    """Raise if a memory limit is not a positive number of bytes.

    Raises
    ------
    BadInput
        If `memory` is another value, or more bytes than any computer has.
    """
    number = isinstance(memory, int | float) and not isinstance(memory, bool)
    if not number or not 1 <= memory <= MOST_MEMORY:
        raise BadInput(
            f"memory {memory!r}: must be a number of bytes from 1 to {MOST_MEMORY}", "option"
        )


def free_memory(device: torch.device) -> int | None:
    """Return the free memory of a device in bytes; None if it shares the computer's memory."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None


def memory_in_use(device: torch.device) -> tuple[int, int | None]:
    """Return two sizes in bytes: the memory of this process, and that of torch on the device.

    The second is None if the device has no memory of its own.
    """
    own = None
    if device.type == "cuda":
        own = torch.cuda.memory_reserved(device)
    return psutil.Process().memory_info().rss, own


def device_title(device: torch.device) -> str:
    """Return the name of a device for display."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return {"cpu": "the CPU", "mps": "the Apple GPU"}.get(device.type, device.type)


def without_autocast(kind: str) -> AbstractContextManager[Any]:
    """Return a context in which the autocast of a caller does not change the precision.

    In this context, autocast does not cache bfloat16 copies of the weights: it would keep them
    until the context ends, and later training steps would use outdated weights.

    Parameters
    ----------
    kind
        Type of a device, such as "cpu" or "cuda".
    """
    if not is_autocast_available(kind):
        return nullcontext()
    return torch.autocast(kind, enabled=False, cache_enabled=False)
