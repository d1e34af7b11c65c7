"""Bytes to the host, held against those that the simulated device has counted."""

from __future__ import annotations

import io

import pytest

torch = pytest.importorskip("torch", reason="counts what torch copies")

from auditlint.bench import devices  # noqa: E402
from auditlint.bench.transfers import Transfers  # noqa: E402
from auditlint.defer import DeviceBuffer, ProbeBank, defer, finalize, flush_all  # noqa: E402
from auditlint.runtime.simulation.clock import CLOCK  # noqa: E402


def buffered(x):
    buffer = DeviceBuffer(["value"], 4, device=x.device)
    buffer.extend(x.norm().reshape(1, 1))
    flush_all([buffer])


def probed(x):
    model = torch.nn.Sequential(torch.nn.Linear(8, 8)).to(x.device)
    bank = ProbeBank(capacity=4)
    bank.add_all("0", {"a": torch.ones(8, device=x.device), "b": torch.ones(8, device=x.device)})
    with bank.attach(model):
        model(x.reshape(1, 1, 8))
        bank.export().result()


READS = {
    "item": lambda x: x[0].item(),
    "float": lambda x: float(x.double()[0]),
    "tolist": lambda x: x.tolist(),
    "cpu": lambda x: x.cpu(),
    "to": lambda x: x.to("cpu", torch.float64, non_blocking=True),
    "numpy": lambda x: x.cpu().numpy(),
    "copy_": lambda x: torch.empty(8).copy_(x),
    "save": lambda x: torch.save(x, io.BytesIO()),
    "packed": lambda x: finalize([defer(x.norm(), fresh=True), defer(x, "list")]),
    "buffer": buffered,
    "bank": probed,
    "kernels only": lambda x: x.softmax(0).norm(),
    "to the device": lambda x: torch.ones(8).to(x.device),
}


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_bytes_are_those_that_the_simulated_device_counts(read):
    with devices.opened("simulated") as device:
        x = torch.randn(8).to(device.torch_device)
        before = CLOCK.counts().d2h
        with Transfers() as transfers:
            read(x)
        assert transfers.to_host == CLOCK.counts().d2h - before
        assert (transfers.to_host == 0) == (read in (READS["kernels only"], READS["to the device"]))


def test_on_the_cpu_nothing_is_sent():
    with Transfers() as transfers:
        torch.ones(3).double().to("cpu").sum().item()
    assert transfers.to_host == 0
