"""Send tiles through a network: a graphics card computes one tile while others are copied."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import cycle

import numpy as np
import torch
from torch import Tensor


def computed(
    images: Iterable[np.ndarray], compute: Callable[[Tensor], Tensor], device: torch.device
) -> Iterator[np.ndarray]:
    """Yield the results of images in order, as float32; a result is overwritten by the next one.

    On a graphics card, the next image is read, copied and queued before the program waits for the
    previous result, so that the card always has work.

    Parameters
    ----------
    images
        The images, of any type and shape.
    compute
        Function of a float32 image on the device; its result is also on the device.
    device
        The device.
    """
    if not _has_queue(device):
        for image in images:
            sent = torch.from_numpy(np.require(image, np.float32, ["C", "W"])).to(device)
            yield compute(sent).cpu().numpy()
        return
    waiting: deque[_Slot] = deque()
    for image, slot in zip(images, cycle((_Slot(device), _Slot(device))), strict=False):
        slot.send(image, compute)
        waiting.append(slot)
        if len(waiting) > 1:
            yield waiting.popleft().result()
    for slot in waiting:
        yield slot.result()


def _has_queue(device: torch.device) -> bool:
    return device.type == "cuda"


class _Slot:
    """Memory of the computer for an image and its result, and the event that ends its work.

    Copies between a card and page-locked memory run while the program continues.

    Parameters
    ----------
    device
        The graphics card.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._sent, self._received = torch.empty(0), torch.empty(0)
        self._done = torch.cuda.Event(blocking=True)  # other threads read and write meanwhile

    def send(self, image: np.ndarray, compute: Callable[[Tensor], Tensor]) -> None:
        """Queue the copy of an image, its computation, and the copy of the result."""
        self._sent = _page_locked(self._sent, image.shape)
        self._sent.numpy()[...] = image
        output = compute(self._sent.to(self._device, non_blocking=True))
        self._received = _page_locked(self._received, tuple(output.shape))
        self._received.copy_(output, non_blocking=True)
        self._done.record(torch.cuda.current_stream(self._device))

    def result(self) -> np.ndarray:
        """Wait for the result and return it; the next image of the slot overwrites it."""
        self._done.synchronize()
        return self._received.numpy()


def _page_locked(memory: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return page-locked memory of a shape: the given one if it fits."""
    if tuple(memory.shape) == shape:
        return memory
    try:
        return torch.empty(shape, dtype=torch.float32, pin_memory=True)
    except RuntimeError:  # the system limits it; other memory is only slower
        return torch.empty(shape, dtype=torch.float32)
