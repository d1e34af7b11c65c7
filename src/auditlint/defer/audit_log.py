"""`AuditLog`: what a model's layers did in each forward pass, recorded without waiting for the device."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import torch

from auditlint.defer.calls import raise_all, run_calls
from auditlint.defer.capture import Capture, Formula
from auditlint.defer.compiling import outside_graph
from auditlint.defer.deferred import defer
from auditlint.defer.export import write_json, write_jsonl, write_parquet
from auditlint.defer.layer_captures import CaptureFunction, Layers, capture_function, selected
from auditlint.defer.passes import Passes
from auditlint.defer.pending import deliver_all, send_all
from auditlint.defer.snapshot import taken, values

OnFull = Literal["flush", "error"]
Entry = dict[str, Any]

DEFAULT_MAX_BYTES = 1 << 26


class AuditLogFull(RuntimeError):
    """An entry would have taken more memory than the log may hold; it was not recorded."""


class AuditLog:
    """Entries of a model's forward passes, each a dict of `token`, `layer`, `module` and what was captured.

    `token` counts the model's forward passes from 0; it is None for what was recorded outside a pass. `layer` counts
    the selected layers in the model's order, `module` is the layer's name. Captured tensors stay on their device until
    `finalize`, or until there are more than `max_bytes` of them.

    Safe to use from several threads. Each log has its own entries, tokens and limit.
    """

    def __init__(
        self,
        *,
        max_bytes: int | None = DEFAULT_MAX_BYTES,
        on_full: OnFull = "flush",
        every: int = 1,
        tokens: Literal["forward", "manual"] = "forward",
    ) -> None:
        """A log without hooks, for `append`; `attach` makes one that records by itself.

        Raises ValueError for arguments that mean nothing.
        """
        if on_full not in ("flush", "error"):
            raise ValueError(f"on_full is 'flush' or 'error', not {on_full!r}")
        if every < 1 or (max_bytes is not None and max_bytes < 1):
            raise ValueError("every and max_bytes are at least 1")
        if tokens not in ("forward", "manual"):
            raise ValueError(f"tokens is 'forward' or 'manual', not {tokens!r}")
        self.max_bytes = max_bytes
        self.on_full = on_full
        self.every = every
        self._passes = Passes(manual=tokens == "manual")
        self._handles: list[Any] = []
        self._closed = False
        self._lock = threading.Lock()  # for the fields below; never held while waiting
        self._fresh: list[Entry] = []
        self._finished: list[Entry] = []
        self._held: dict[int, Capture] = {}  # by address
        self._bytes = 0
        self._finalizing = threading.RLock()

    @classmethod
    def attach(
        cls,
        model: torch.nn.Module,
        capture: str | CaptureFunction = "norm",
        *,
        layers: Layers = None,
        every: int = 1,
        max_bytes: int | None = DEFAULT_MAX_BYTES,
        on_full: OnFull = "flush",
        tokens: Literal["forward", "manual"] = "forward",
    ) -> AuditLog:
        """Record from `model`'s layers in each forward pass, until the log is closed; use it in a `with` statement.

        `capture` is "norm", "router", "log_probs" (see `auditlint.defer.layer_captures`), or a function that gets the
        module, its arguments and its output, as a forward hook does, and returns a dict of values, or one value, which
        is recorded as `value`, or None for no entry. It runs without gradients. Tensors in what it returns are read as
        numbers if they have no dimensions, else as lists.

        `layers` is a name, a pattern (`"blocks.*"`), several of them, or a predicate of name and module. Without it,
        "router" takes the modules named "gate" or with "router" in their names, and all others the members of the
        model's outermost ModuleLists, or its direct children. `every=n` records the passes 0, n, 2n, ...

        More than `max_bytes` of captured tensors (None: no limit) are sent to the host without waiting for the copy
        ("flush"), or `AuditLogFull` is raised in the pass, before the entry is recorded ("error").

        `tokens="manual"` counts calls of `next_token` instead of forward passes. A compiled model runs the hooks in
        Python, with a graph break at each; with `fullgraph=True` torch refuses, and `auditlint.defer.DeviceBuffer` is
        what to use.

        Raises ValueError for arguments that mean nothing and layers that do not exist.
        """
        log = cls(max_bytes=max_bytes, on_full=on_full, every=every, tokens=tokens)
        function = capture_function(capture)
        found = selected(model, layers, capture)
        try:
            log._handles += log._passes.attach(model)
            for index, (name, module) in enumerate(found.items()):
                log._handles.append(module.register_forward_hook(_Recorder(log, index, name, function)))
        except BaseException:
            log.close()
            raise
        return log

    def __enter__(self) -> AuditLog:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove the hooks. What was recorded stays; closing again does nothing."""
        self._closed = True
        handles, self._handles = self._handles, []
        for handle in handles:
            handle.remove()

    def __deepcopy__(self, memo: dict[int, Any]) -> AuditLog:
        """Itself: a copy of a model goes on recording here, and no longer than this one."""
        return self

    @property
    def token(self) -> int | None:
        """The index of the pass that runs on this thread, None between passes."""
        return self._passes.current

    @property
    def recording(self) -> bool:
        """Whether the layers' entries of this moment are recorded: always outside passes, else every `every`th."""
        token = self._passes.current
        return not self._closed and (token is None or token % self.every == 0)

    @property
    def interrupted(self) -> tuple[int, ...]:
        """Tokens of passes that ended with an exception; their entries are those recorded up to there."""
        return tuple(self._passes.interrupted)

    def next_token(self) -> int:
        """Begin the next token of a log with `tokens="manual"`; returns its index.

        Raises RuntimeError for a log that counts forward passes.
        """
        if not self._passes.manual:
            raise RuntimeError("this log counts forward passes; with tokens='manual' it counts next_token()")
        return self._passes.advance()

    @outside_graph
    def append(self, entry: Mapping[str, Any]) -> None:
        """Record an entry of one's own, from a hook or elsewhere; recorded in every pass, whatever `every` is.

        Its tensors are captured as they are now; those without dimensions are read as numbers, others as lists, and
        `defer(tensor, as_=...)` asks for something else. `token`, `layer` and `module` are those of `entry` if it has
        them, else the running pass, None and None. Raises AuditLogFull, and what `defer` raises.
        """
        self._add({"token": self._passes.current, "layer": None, "module": None, **entry})

    def _add(self, entry: Entry) -> None:
        found: list[Capture] = []

        def capture(tensor: torch.Tensor) -> Capture:
            return defer(tensor, "list") if tensor.dim() else defer(tensor)

        row = taken(entry, capture, found.append)
        with self._lock:
            new = _behind(found, self._held)
            nbytes = sum(map(_nbytes, new.values()))
            over = self.max_bytes is not None and self._bytes + nbytes > self.max_bytes
            if over:  # some of it may have been read meanwhile
                self._held = {address: held for address, held in self._held.items() if _nbytes(held)}
                self._bytes = sum(map(_nbytes, self._held.values()))
                over = self._bytes + nbytes > (self.max_bytes or 0)
            if over and self.on_full == "error":
                raise AuditLogFull(
                    f"{self._bytes} bytes are captured and not read; {nbytes} more would exceed max_bytes="
                    f"{self.max_bytes}: finalize more often, raise max_bytes, or use on_full='flush'"
                )
            self._fresh.append(row)
            if over:
                self._held, self._bytes = {}, 0
            else:
                self._held |= new
                self._bytes += nbytes
        if over:
            send_all()  # what fails stays failed, and raises when it is read

    def __len__(self) -> int:
        """How many entries there are; costs no transfer."""
        with self._lock:
            return len(self._finished) + len(self._fresh)

    def __iter__(self) -> Iterator[Entry]:
        """The plain entries; finalizes."""
        return iter(self.finalize())

    @property
    def finished(self) -> list[Entry]:
        """The entries that are plain already; costs no transfer and raises nothing, after a device error too."""
        with self._lock:
            return list(self._finished)

    def finalize(self) -> list[Entry]:
        """All entries with plain values, in the order in which they were recorded; one transfer a device.

        Runs deferred calls, as `auditlint.defer.finalize` does, and raises what that raises, whenever it is called:
        then the entries all of whose values could be read are `finished`. Finalizing again is free.
        """
        with self._finalizing:
            errors: list[BaseException] = [*deliver_all(), *run_calls()]
            with self._lock:
                fresh, self._fresh = self._fresh, []
                self._held, self._bytes = {}, 0
            plain: list[Entry] = []
            failed: list[Entry] = []
            try:
                for row in fresh:
                    try:
                        values(row)
                        plain.append(row)
                    except Exception as error:
                        errors.append(error)
                        failed.append(row)
            finally:
                with self._lock:
                    self._finished += plain
                    self._fresh[:0] = failed + fresh[len(plain) + len(failed) :]
            raise_all(errors)
            return self.finished

    def drain(self) -> list[Entry]:
        """As `finalize`, and forget the entries that are returned: bounds the host's memory of a long run."""
        with self._finalizing:
            entries = self.finalize()
            with self._lock:
                del self._finished[: len(entries)]
            return entries

    def to_json(self, path: str | os.PathLike[str]) -> None:
        """Finalize and write all entries as one JSON array; see `auditlint.defer.export.write_json`."""
        write_json(path, self.finalize())

    def to_jsonl(self, path: str | os.PathLike[str]) -> None:
        """Finalize and write one JSON object a line; see `auditlint.defer.export.write_jsonl`."""
        write_jsonl(path, self.finalize())

    def to_parquet(self, path: str | os.PathLike[str]) -> None:
        """Finalize and write a Parquet file, which needs pyarrow; see `auditlint.defer.export.write_parquet`."""
        write_parquet(path, self.finalize())


class _Recorder:
    """A forward hook that records one layer."""

    def __init__(self, log: AuditLog, layer: int, module: str, capture: CaptureFunction) -> None:
        self._log = log
        self._layer = layer
        self._module = module
        self._capture = capture

    @outside_graph
    def __call__(self, module: torch.nn.Module, args: Any, output: Any) -> None:
        log = self._log
        if not log.recording:
            return
        with torch.no_grad():
            found = self._capture(module, args, output)
        if found is None:
            return
        entry = {"token": log.token, "layer": self._layer, "module": self._module}
        values = found if isinstance(found, Mapping) else {"value": found}
        taken_keys = entry.keys() & values.keys()
        if taken_keys:
            raise ValueError(f"a capture cannot set {', '.join(sorted(taken_keys))}: the log does")
        log._add({**entry, **values})


def _behind(found: list[Capture], known: dict[int, Capture]) -> dict[int, Capture]:
    """`found`, and what derived ones among them need, by address; without those that are `known`."""
    behind: dict[int, Capture] = {}
    left = list(found)
    while left:
        capture = left.pop()
        if id(capture) in known or id(capture) in behind:
            continue
        behind[id(capture)] = capture
        formula = capture._held
        if isinstance(formula, Formula):
            left += formula.needed
    return behind


def _nbytes(capture: Capture) -> int:
    held = capture._held
    return int(held.nbytes) if isinstance(held, torch.Tensor) else 0
