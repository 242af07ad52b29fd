"""How many views fit through a model at a time."""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from vidclf.data.view import View

USUAL_VIEWS = 8  # on a CPU, where no memory is given: more are not faster there
MOST_VIEWS = 256
GPU_SHARE = 0.8  # of the free memory, where none is given


def is_out_of_memory(error: BaseException) -> bool:
    """Whether less at a time may work. torch says it in words on a CPU."""
    if isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and ("can't allocate memory" in str(error) or "out of memory" in str(error))


@torch.inference_mode()
def views_that_fit(model: nn.Module, view: View, device: torch.device, memory_bytes: int | None = None) -> int:
    """Views that a forward pass may take at a time, from 1 on, measured with two of them.

    Args:
        model: on ``device``, in eval mode.
        view: of what size they are.
        device: where the model is.
        memory_bytes: that the pass may take beside the model's weights; None: most of what the GPU has free, and
            ``USUAL_VIEWS`` on a CPU.
    """
    if memory_bytes is None and device.type != "cuda":
        return USUAL_VIEWS
    shape = (2, 3, view.num_frames, view.crop_size, view.crop_size)

    def forward() -> None:
        model(torch.zeros(shape, device=device))

    try:
        taken = peak_bytes(forward, device) / 2
    except (RuntimeError, MemoryError) as error:
        if is_out_of_memory(error):
            return 1
        raise
    if memory_bytes is None:
        memory_bytes = int(GPU_SHARE * torch.cuda.mem_get_info(device)[0])
    return max(1, min(MOST_VIEWS, int(memory_bytes / max(taken, 1))))


def peak_bytes(work: Callable[[], None], device: torch.device) -> int:
    """Memory that ``work`` takes at most, beside what is taken before."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        work()
        return int(torch.cuda.max_memory_allocated(device) - before)
    _forget_peak()
    before = _status("VmRSS")
    work()
    return max(0, _status("VmHWM") - before)


def in_steps(answer: Callable[[Tensor], Tensor], views: Tensor, at_most: int) -> tuple[Tensor, int]:
    """``answer`` of ``views``, ``at_most`` of them at a time; half as many where memory runs out, down to one.

    Returns:
        The answers, and how many went at a time in the end.

    Raises:
        RuntimeError, MemoryError: one alone is too much.
    """
    while True:
        try:
            return torch.cat([answer(part) for part in views.split(at_most)]), at_most
        except (RuntimeError, MemoryError) as error:
            if at_most == 1 or not is_out_of_memory(error):
                raise
        if views.is_cuda or torch.cuda.is_available():
            torch.cuda.empty_cache()
        at_most = max(1, min(at_most, len(views)) // 2)


def _forget_peak() -> None:
    """proc(5): "5" sets the process's highest resident size to what it is now. Linux only."""
    if sys.platform == "linux":
        Path("/proc/self/clear_refs").write_text("5")


def _status(name: str) -> int:
    """Bytes of a field of /proc/self/status; elsewhere the highest resident size so far, which never falls."""
    if sys.platform != "linux":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return 0
