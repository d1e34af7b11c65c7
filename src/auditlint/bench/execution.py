"""Running a model as it stands, compiled, or from a CUDA graph."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import torch

from auditlint.bench.audit_arms import COMPILED, GRAPHS

WARM_UP = 3  # passes before a capture, as torch's notes on CUDA graphs ask for


def refusal(execution: str, backend: str, model: torch.nn.Module) -> str:
    """Why a model cannot be run in this way here, in a few words; "" if it can."""
    if execution == COMPILED:
        if backend == "simulated":
            return "the simulated device has no compiler"
        if backend == "cpu" and not any(map(shutil.which, ("g++", "clang++", "cl"))):
            return "torch.compile needs a C++ compiler"
    if execution == GRAPHS:
        if backend != "cuda":
            return "CUDA graphs need CUDA"
        if not callable(getattr(model, "reset", None)):
            return "a CUDA graph replays one pass, so the model has to keep what it saw (a method `reset`)"
    return ""


@contextlib.contextmanager
def hooks_told_apart(wanted: bool) -> Iterator[None]:
    """Let torch.compile tell copies of a model apart by their hooks, if that is wanted.

    It does not otherwise: code compiled for a copy without hooks would run for one that has some, and skip them.
    """
    if not wanted:
        yield
        return
    from torch._dynamo import config

    patch: Any = config.patch
    with patch(skip_nnmodule_hook_guards=False):
        yield


def runner(execution: str, model: torch.nn.Module, device: torch.device) -> Callable[..., Any]:
    """What is called instead of the model, whose hooks have been registered."""
    if execution == GRAPHS:
        return _captured(model, device)
    run: Callable[..., Any] = torch.compile(model) if execution == COMPILED else model
    return run


def _captured(model: torch.nn.Module, device: torch.device) -> Callable[..., Any]:
    """A pass over one token as a CUDA graph; hooks are part of it, as far as they queue kernels."""
    given = torch.zeros((1, 1), dtype=torch.int64, device=device)
    stream: Any = torch.cuda.Stream(device)
    stream.wait_stream(torch.cuda.current_stream(device))
    graph: Any = torch.cuda.CUDAGraph()
    with torch.no_grad():
        model.reset()
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                model(given)
        torch.cuda.current_stream(device).wait_stream(stream)
        model.reset()
        with torch.cuda.graph(graph):
            output = model(given)

    def replay(token: torch.Tensor) -> Any:
        given.copy_(token)
        graph.replay()
        return output

    return replay
