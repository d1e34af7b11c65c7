"""A simulated accelerator for torch on any machine: in-order, asynchronous, with a virtual clock.

`register()` makes `torch.device("sim")` work; `CLOCK` counts. Values are those of torch's CPU kernels; what is modelled
is when the host would have to wait.
"""

from __future__ import annotations
