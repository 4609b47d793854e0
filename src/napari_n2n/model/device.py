"""Which processor computes."""

import shutil
import sys
from typing import Any

import psutil
import torch

from napari_n2n.errors import BadInput

_ALL_THREADS = torch.get_num_threads()


def choose_device(name: str) -> torch.device:
    """Return the device that a settings word stands for.

    Parameters
    ----------
    name
        "auto" (CUDA, then MPS, then CPU), "cpu", "cuda" or "mps".

    Raises
    ------
    BadInput
        If this torch cannot reach the device that was asked for.
    """
    there = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        name = next(kind for kind, available in there.items() if available)
    if name not in there:
        raise BadInput(f"device '{name}': unknown: choose auto, {', '.join(there)}", "option")
    if not there[name]:
        built = " (this torch was built without CUDA)" if not torch.version.cuda else ""
        mended = unused_card() or "install a torch that supports it"
        raise BadInput(
            f"device '{name}': not available to torch {torch.__version__}{built}: "
            f"use --device auto, or {mended}",
            "device",
        )
    return torch.device(name)


def unused_card() -> str | None:
    """Say how torch gets to use an NVIDIA card that this computer has; None if it can.

    None also where there is no such card.
    """
    if torch.version.cuda or torch.version.hip or shutil.which("nvidia-smi") is None:
        return None
    # What pip takes by itself knows CUDA on Linux only.
    index = " --index-url https://download.pytorch.org/whl/cu126" if sys.platform == "win32" else ""
    return (
        "install a torch that can use this computer's NVIDIA card: "
        f"pip install --force-reinstall torch{index}"
    )


def computes_in_bfloat16(device: torch.device) -> bool:
    """Tell whether a device has instructions for bfloat16, with which a network trains faster.

    Where it has none torch imitates them, which is slower than float32.
    """
    if device.type == "cpu":
        known: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # since torch 2.11
        return bool(known.get("avx512_bf16") or known.get("amx_bf16"))
    return device.type == "cuda"


def wait_for(device: torch.device) -> None:
    """Wait until a device has done what it was asked for."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def use_threads(number: int) -> None:
    """Let torch compute with a number of cores from here on, 0 for as many as it likes.

    Call it in the thread that computes.
    """
    torch.set_num_threads(number or _ALL_THREADS)


def free_memory(device: torch.device) -> int | None:
    """Return the bytes that are free on a device; None where it shares the computer's memory."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None


def memory_in_use(device: torch.device) -> tuple[int, int | None]:
    """Return the bytes of memory that this process has in use, and those on a graphics card.

    None where the device has no memory of its own.
    """
    own = None
    if device.type == "cuda":
        own = torch.cuda.memory_reserved(device)
    return psutil.Process().memory_info().rss, own


def device_title(device: torch.device) -> str:
    """Return what people call a device."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return {"cpu": "the CPU", "mps": "the Apple GPU"}.get(device.type, device.type)
