"""Flushing: all pending captures of the process become values, with one transfer for each device.

The first read of any capture takes the whole queue. All transfers are started before the first is waited for. Then what
is derived from them is computed.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch

from auditlint.defer.capture import Capture, Failed, Formula, forget_sweep, put_back, queue, taken, waiting
from auditlint.defer.compiling import outside_graph
from auditlint.defer.formulas import compute
from auditlint.defer.settling import fail, settle, settle_host
from auditlint.defer.transfer import Transfer, abandon


class Flight(NamedTuple):
    """A transfer and the captures that it carries, in the order of its tensors."""

    transfer: Transfer
    captures: list[Capture]


class _Flushing:
    """The lock that is held for the length of a flush: who reads meanwhile gets values, not half of them.

    `depth` is more than 1 when a flush happens inside a flush of the same thread: in a finaliser or a signal handler.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self.depth = 0

    @contextlib.contextmanager
    def __call__(self) -> Iterator[None]:
        # Values outlive the block in which they are read, so they must not be that block's kind of tensor.
        with self._lock, torch.inference_mode(False), torch.no_grad():
            self.depth += 1
            try:
                yield
            finally:
                self.depth -= 1


_flushing = _Flushing()
_in_flight: list[Flight] = []


def pending() -> int:
    """How many captures wait to be read."""
    return sum(waiting(reference()) for reference in tuple(queue)) + sum(len(flight[1]) for flight in tuple(_in_flight))


@outside_graph
def read(capture: Capture) -> Any:
    """The value of a capture. The first read makes values of all that are pending; later ones cost nothing.

    Raises the device's error, on every read, when the transfer failed.
    """
    if capture._held is None:
        return capture._value
    if not isinstance(capture._held, Failed):
        deliver_all()
        with _flushing():
            # Neither in the queue nor in flight: taken by a flush that this read is a part of, or that was interrupted.
            if isinstance(capture._held, Formula):
                compute([capture])
            elif waiting(capture):
                _deliver([capture])
            elif isinstance(capture._held, Flight):
                _finish(capture._held)
    if isinstance(capture._held, Failed):
        raise capture._held.error
    return capture._value


@outside_graph
def deliver_all() -> list[BaseException]:
    """Make values of all that are pending; the errors of those that failed, which stay failed."""
    if not queue and not _in_flight and not _flushing.depth:  # a flush in a loop costs little when there is nothing
        return []
    with _flushing():
        errors = _finish_flights()
        captures = taken()
        formulas = [capture for capture in captures if isinstance(capture._held, Formula)]
        try:
            errors += _deliver([capture for capture in captures if isinstance(capture._held, torch.Tensor)])
            if _flushing.depth == 1:  # deeper, a function is running that others may need
                errors += compute(formulas)
        finally:
            put_back(formulas)  # those that are left
        return errors


@outside_graph
def send_all() -> list[BaseException]:
    """Start bringing all that is pending to the host and let go of the device's memory, without waiting for the copy.

    What was sent before is finished first, so that there is never more than one piece of host memory on the way from a
    device. On devices without asynchronous copies the copy is done here. Returns errors as `deliver_all` does.
    """
    with _flushing():
        errors = _finish_flights()
        captures = taken()
        flights: list[Flight] = []
        try:
            host = _started([one for one in captures if isinstance(one._held, torch.Tensor)], flights, errors)
            settle_host(host)
        finally:
            for flight in flights:
                flight.transfer.release()
                for capture in flight.captures:
                    capture._held = flight
            _in_flight.extend(flights)
            put_back(captures)  # formulas, and what is left when this was interrupted or memory ran out
        return errors


def _deliver(captures: list[Capture]) -> list[BaseException]:
    errors: list[BaseException] = []
    flights: list[Flight] = []
    try:
        host = _started(captures, flights, errors)
        for flight in flights:
            errors += _finish(flight)
        settle_host(host)
    except BaseException:  # interrupted, or out of memory: nothing is lost, the next read tries again
        for flight in flights:
            flight.transfer.release()
        put_back(captures)
        raise
    return errors


def _started(captures: list[Capture], flights: list[Flight], errors: list[BaseException]) -> list[Capture]:
    """Add a flight for each device; returns the captures that are on the host already."""
    by_device: dict[torch.device, list[Capture]] = {}
    for capture in captures:
        by_device.setdefault(capture._held.device, []).append(capture)
    host = by_device.pop(torch.device("cpu"), [])
    for device, found in by_device.items():
        streams = {id(capture._stream): capture._stream for capture in found if capture._stream is not None}
        try:
            transfer = Transfer(device, [capture._held for capture in found], list(streams.values()))
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            fail(found, error)
            errors.append(error)
        else:
            flights.append(Flight(transfer, found))
    return host


def _finish_flights() -> list[BaseException]:
    errors = []
    while _in_flight:
        flight = _in_flight.pop(0)
        try:
            errors += _finish(flight)
        except BaseException:
            _in_flight.insert(0, flight)
            raise
    return errors


def _finish(flight: Flight) -> list[BaseException]:
    try:
        settle(flight.captures, flight.transfer.finish())
    except Exception as error:
        fail(flight.captures, error)
        return [error]
    if _flushing.depth == 1:  # deeper, the flush around this one may be looking at the same memory
        flight.transfer.recycle()
    return []


def _forked() -> None:
    """In a child of a fork: what was on a device cannot be reached; what was on the host is still there."""
    global _flushing
    _flushing = _Flushing()
    forget_sweep()
    error = RuntimeError("captured on a device before this process was forked from the one that holds the device")
    captures = [reference() for reference in tuple(queue)]
    tensors = [one for one in captures if one is not None and isinstance(one._held, torch.Tensor)]
    lost = [one for one in tensors if one._held.device.type != "cpu"]
    lost += [capture for flight in _in_flight for capture in flight.captures]
    abandon([capture._held for capture in lost])
    abandon(list(_in_flight))
    fail(lost, error)
    _in_flight.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
