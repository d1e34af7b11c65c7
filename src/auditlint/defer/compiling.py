"""What a graph cannot hold: functions that torch.compile leaves to Python, whole and with all they call.

`torch.compiler.disable` does the same and imports torch's compiler for it, which takes seconds; a mark does not. A
compiled caller gets one graph break at a marked function and no recompilation; with `fullgraph=True` torch refuses, and
names the reason given here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch

Function = TypeVar("Function", bound=Callable[..., Any])

REASON = (
    "auditlint.defer keeps captured tensors in Python, which a graph cannot do; in a compiled hook, capture with "
    "auditlint.defer.DeviceBuffer"
)
_internals: Any = torch


def outside_graph(function: Function) -> Function:
    """Mark a function, a hook for instance, as one that torch.compile runs in Python; returns it.

    A hook that appends to a list is compiled anew whenever the list has grown, until torch gives up; marked, it is
    run as it stands.
    """
    marked: Any = function
    marked._torchdynamo_disable = True
    marked._torchdynamo_disable_msg = REASON
    marked._torchdynamo_disable_recursive = True
    try:
        frames = _internals._C._dynamo.eval_frame
        skip = frames._FrameAction.SKIP
        frames.set_code_exec_strategy(marked.__code__, frames._FrameExecStrategy(skip, skip))
    except (
        AttributeError
    ):  # another torch: the call still breaks the graph, and what it calls may be compiled by itself
        pass
    return function
