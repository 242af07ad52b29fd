"""Asking a model on a Ray worker. Imports no Prefect."""

from __future__ import annotations

import ray

from tasks.progress import Reporter
from vidclf.evaluation.judge import Question, answer


def answer_on_worker(report: Reporter, question: Question) -> int:
    """Answer with all that this Ray task was given; the number of scores."""
    import torch

    assigned = ray.get_runtime_context().get_assigned_resources()
    torch.set_num_threads(max(1, int(assigned.get("CPU", 1))))
    stage = f"judge {question.name}" + (" shuffled" if question.frame_order == "shuffled" else "")
    device = "cuda" if assigned.get("GPU") else "cpu"
    return len(answer(question, device, lambda done, total, _: report(stage, done, total, "videos")))
