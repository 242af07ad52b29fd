"""The global generators: set from a seed, read and put back."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch


def seed_everything(seed: int, *key: int) -> None:
    """Set the generators of torch (CUDA's too), NumPy and Python from a seed and what else must differ: an epoch, a rank."""
    word = seed_of(seed, *key)
    torch.manual_seed(word)
    np.random.seed(word)
    random.seed(word)


def seed_of(seed: int, *key: int) -> int:
    """A seed of its own for each ``key``, 32 bits."""
    return int(np.random.SeedSequence((seed, *key)).generate_state(1)[0])


def random_state(device: torch.device) -> dict[str, Any]:
    """Where the generators stand, as tensors and plain values."""
    kind, words, *rest = np.random.get_state(legacy=True)
    version, internal, gauss = random.getstate()
    state: dict[str, Any] = {
        "torch": torch.get_rng_state(),
        "numpy": {"kind": str(kind), "words": torch.from_numpy(np.asarray(words).astype(np.int64)), "rest": rest},
        "python": {"version": version, "internal": torch.tensor(internal, dtype=torch.int64), "gauss": gauss},
    }
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def restore_random_state(state: dict[str, Any], device: torch.device) -> None:
    """Put the generators back to where ``random_state`` found them."""
    torch.set_rng_state(state["torch"])
    numpy_state = state["numpy"]
    position, has_gauss, cached = numpy_state["rest"]
    words = numpy_state["words"].numpy().astype(np.uint32)
    np.random.set_state((numpy_state["kind"], words, int(position), int(has_gauss), float(cached)))
    python_state = state["python"]
    random.setstate((python_state["version"], tuple(python_state["internal"].tolist()), python_state["gauss"]))
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)
