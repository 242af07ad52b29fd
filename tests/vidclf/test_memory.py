"""Tensors' memory: kept from one layer to the next, in this process and in those that are started for it, and given back."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from vidclf import memory

pytestmark = pytest.mark.skipif(memory._glibc is None, reason="the C library is not glibc")

#: Six layers' worth of activations of 40 MB each, again and again: pages that the kernel had to clear in the end, and what is held.
SCRIPT = """
import contextlib, resource, sys, threading
import psutil, torch
from vidclf import memory

def layers():
    for _ in range(6):
        torch.ones(10_000_000)

def work():
    for _ in range(5):  # small blocks may take a piece of a large one's place at first
        layers()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    layers()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)

def held():
    return psutil.Process().memory_info().rss

torch.set_num_threads(1)
if sys.argv[1] == "thread":
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
else:
    before = held()
    with memory.kept() if sys.argv[1] == "kept" else contextlib.nullcontext():
        work()
        print(held() - before)
    print(held() - before)
"""
PAGES = 6 * 40_000_000 // 4096


def numbers(how: str, **environment: str) -> list[int]:
    command = [sys.executable, "-c", SCRIPT, how]
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=True)
    return [int(line) for line in done.stdout.split()]


@pytest.mark.thorough
def test_by_itself_every_page_is_cleared_again() -> None:
    assert numbers("as it is")[0] >= 0.9 * PAGES


@pytest.mark.thorough
def test_kept_memory_is_used_again_and_given_back_in_the_end() -> None:
    cleared, held_within, held_after = numbers("kept")
    assert cleared < 0.2 * PAGES
    assert held_within > 39_000_000 > 2 * held_after


@pytest.mark.thorough
def test_a_process_that_is_started_for_it_keeps_the_memory_of_all_its_threads() -> None:
    assert numbers("thread")[0] >= 0.9 * PAGES
    assert numbers("thread", **memory.ENVIRONMENT)[0] < 0.2 * PAGES
