"""Programs written for CUDA on the simulated device, and torch as it was when they have run."""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
import threading

import pytest

torch = pytest.importorskip("torch", reason="the simulated device is made of torch's CPU kernels")

from auditlint.runtime import count_syncs  # noqa: E402
from auditlint.runtime.backends.simulated import Simulated  # noqa: E402
from auditlint.runtime.patches import Patches  # noqa: E402
from auditlint.runtime.simulation.clock import CLOCK, Latency  # noqa: E402
from auditlint.runtime.simulation.tensor import SimTensor  # noqa: E402
from auditlint.runtime.watch import Recording, Watch  # noqa: E402

nn = torch.nn
OWNERS = (
    torch,
    torch.Tensor,
    SimTensor,
    nn.Module,
    torch.fft,
    torch.nested,
    torch.sparse,
    torch.cuda,
    torch.cuda.memory,
    torch.cuda.random,
    torch.cuda.nvtx,
    torch.accelerator,
    torch.amp.GradScaler,
    torch.autograd,
    torch.autograd.graph,
    torch.amp.autocast_mode.autocast,
    torch.utils._device.DeviceContext,
    torch.__future__,
)


def attributes():
    return [dict(vars(owner)) for owner in OWNERS]


@contextlib.contextmanager
def installed(**options):
    watch = Watch()
    recording = Recording()
    with contextlib.ExitStack() as undo:
        backend = Simulated(**options)
        backend.install(watch, Patches(undo), undo)
        watch.recordings = (recording,)
        yield recording


def ops(recording):
    return [event.op for event in recording.tallies]


@pytest.fixture
def recording():
    with installed() as recording:
        yield recording


def test_the_backend_describes_itself():
    backend = Simulated(latency=Latency(1, 2, 3, 4))
    assert (backend.name, backend.potential, backend.tensor_classes) == ("simulated", False, (SimTensor,))
    assert backend.environment().device == "simulated"
    assert backend.environment().driver == "virtual clock: launch 1 us, kernel 2 us, copy 3 us, sync 4 us"
    assert all(text.endswith(".") for text in backend.blind_spots)


def test_a_planted_sync_is_seen(recording):
    Simulated().plant()
    assert len(recording.tallies) == 1


@pytest.mark.parametrize("default", [False, True])
@pytest.mark.parametrize("failing", [False, True])
def test_everything_is_put_back(default, failing):
    with installed():
        pass  # what torch imports on the way is there
    before, listener, latency = attributes(), CLOCK.listener, CLOCK.latency
    with contextlib.suppress(ZeroDivisionError), installed(default=default, latency=Latency(1, 1, 1, 1)):
        assert attributes() != before and CLOCK.listener is not None and CLOCK.latency == Latency(1, 1, 1, 1)
        torch.zeros(2, device="cuda").sum().item()
        if failing:
            raise ZeroDivisionError
    for owner, was, now in zip(OWNERS, before, attributes(), strict=True):
        assert was.keys() == now.keys(), owner
        assert [name for name in was if was[name] is not now[name]] == [], owner
    assert CLOCK.listener is listener and CLOCK.latency is latency
    assert not torch.cuda.is_available()
    with pytest.raises((AssertionError, RuntimeError)):
        torch.zeros(2, device="cuda")


def test_cuda_is_there(recording):
    assert torch.cuda.is_available() and torch.cuda.is_initialized()
    assert (torch.cuda.device_count(), torch.cuda.current_device()) == (1, 0)
    assert torch.cuda.get_device_name(0) == torch.cuda.get_device_properties("cuda").name
    assert torch.cuda.memory_allocated() == torch.cuda.max_memory_allocated() == 0
    assert torch.cuda.mem_get_info()[0] > 0
    torch.cuda.reset_peak_memory_stats()
    torch.cuda.set_device(0)
    torch.cuda.manual_seed_all(1)
    with torch.cuda.device(0), torch.cuda.stream(torch.cuda.Stream()):
        assert torch.cuda.current_stream().query() in (True, False)
    torch.cuda.nvtx.range_push("a")
    torch.cuda.nvtx.range_pop()
    assert not recording.tallies


@pytest.mark.parametrize("name", ["cuda", "cuda:0", torch.device("cuda"), torch.device("cuda", 0), 0])
def test_every_way_to_name_the_device(recording, name):
    made = [
        torch.zeros(2, device=name),
        torch.tensor([1.0, 2.0], device=name),
        torch.arange(3, device=name),
        torch.randn(2, 2, device=name),
        torch.zeros_like(torch.ones(2), device=name),
        torch.ones(2).new_zeros(3, device=name),
        torch.fft.fftfreq(3, device=name),
        torch.ones(2).to(name),
        torch.ones(2).to(device=name, dtype=torch.float16),
        torch.ones(2).cuda(),
        nn.Linear(2, 2, device=name).weight,
        nn.Linear(2, 2).to(name).weight,
        nn.Linear(2, 2).cuda().bias,
        nn.utils.rnn.pack_sequence([torch.ones(2, 1)]).to(name).data,
    ]
    assert all(tensor.device == torch.device("sim", 0) and tensor.is_cuda for tensor in made)
    assert not torch.ones(2).is_cuda and torch.zeros(2).device.type == "cpu"


@pytest.mark.filterwarnings("ignore:.*torch.cuda.amp.autocast.*:FutureWarning")
def test_contexts_that_name_the_device(recording):
    with torch.device("cuda"):
        assert torch.zeros(2).is_cuda and nn.Linear(2, 2).weight.is_cuda
    torch.set_default_device("cuda")
    try:
        assert torch.ones(3).is_cuda
    finally:
        torch.set_default_device(None)
    linear = nn.Linear(4, 4, device="cuda")
    for context in (torch.autocast("cuda", dtype=torch.float16), torch.cuda.amp.autocast(dtype=torch.float16)):
        with context:
            assert torch.is_autocast_enabled("cuda")
            assert linear(torch.ones(1, 4, device="cuda")).dtype == torch.float16
    assert torch.zeros(3).device.type == "cpu"


def test_generators_and_seeds(recording):
    generator = torch.Generator(device="cuda").manual_seed(5)
    assert isinstance(generator, torch.Generator)
    assert isinstance(torch.default_generator, torch.Generator)
    first = torch.randn(3, generator=generator, device="cuda")
    assert torch.equal(first, torch.randn(3, generator=torch.Generator("cuda").manual_seed(5), device="cuda"))
    torch.manual_seed(3)
    on_host = torch.rand(4)
    torch.manual_seed(3)
    assert torch.equal(torch.rand(4, device="cuda").cpu(), on_host)
    with torch.random.fork_rng():
        torch.rand(2, device="cuda")
    torch.cuda.set_rng_state(torch.cuda.get_rng_state())


def test_waiting_by_name(recording):
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    torch.accelerator.synchronize()
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    event.synchronize()
    torch.cuda.current_stream().synchronize()
    assert ops(recording) == [
        "torch.cuda.synchronize",
        "torch.cuda.empty_cache",
        "torch.accelerator.synchronize",
        "Event.synchronize",
        "Stream.synchronize",
    ]
    assert all(tally.count == tally.raw == 1 and tally.waited >= 10.0 for tally in recording.tallies.values())


def test_pinned_memory(recording):
    x = torch.ones(4, device="cuda")
    host = torch.empty(4, pin_memory=True)
    assert host.is_pinned() and torch.ones(2).pin_memory().is_pinned() and not torch.ones(2).is_pinned()
    recording.clear()
    host.copy_(x, non_blocking=True)
    x.copy_(host, non_blocking=True)
    assert x.to("cpu", non_blocking=True).is_pinned()
    assert not recording.tallies
    torch.empty(4).copy_(x, non_blocking=True)
    assert len(recording.tallies) == 1


def test_a_loader_that_pins(recording):
    data = torch.utils.data.TensorDataset(torch.arange(6.0))
    batches = [batch for (batch,) in torch.utils.data.DataLoader(data, batch_size=3, pin_memory=True)]
    assert [batch.tolist() for batch in batches] == [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]
    assert all(batch.is_pinned() for batch in batches) and not recording.tallies


def test_streams_and_tensors_know_each_other(recording):
    stream = torch.cuda.Stream()
    x = torch.ones(2, device="cuda")
    x.record_stream(stream)
    assert stream.device == torch.cuda.current_stream().device == x.device


# The lengths in a list are copied to the device for the mean, as torch does on CUDA.
@pytest.mark.parametrize(("device", "waits"), [("cpu", 1), ("cuda", 3)])
def test_ctc_reads_lengths_only_from_the_device(recording, device, waits):
    scores = torch.randn(5, 2, 4).log_softmax(-1)
    targets, inputs, lengths = torch.ones(2, 3, dtype=torch.long), torch.tensor([5, 5]), torch.tensor([3, 2])
    expected = nn.functional.ctc_loss(scores, targets, inputs, lengths)
    moved = scores.cuda().requires_grad_(), targets.cuda(), inputs.to(device), lengths.to(device)
    recording.clear()
    loss = nn.functional.ctc_loss(*moved)
    loss.backward()
    assert sum(tally.raw for tally in recording.tallies.values()) == waits
    torch.testing.assert_close(loss.detach().cpu(), expected)


def saved(value):
    file = io.BytesIO()
    torch.save(value, file)
    return file


@pytest.mark.parametrize("location", ["cuda", "cuda:0", torch.device("cuda"), {"cpu": "cuda:0", "cuda:0": "cuda:0"}])
def test_loading_to_the_device(recording, location):
    shared = torch.ones(2)
    file = saved({"a": [shared, (nn.Parameter(torch.ones(1)), 3)], "b": shared})
    file.seek(0)
    loaded = torch.load(file, map_location=location)
    assert loaded["b"].is_cuda and loaded["a"][0] is loaded["b"]
    assert isinstance(loaded["a"][1][0], nn.Parameter) and loaded["a"][1][0].is_cuda


@pytest.mark.parametrize("location", ["cpu", lambda storage, location: storage, {"cuda:0": "cpu"}])
def test_loading_to_the_host_what_was_saved_on_the_device(recording, location):
    file = saved(nn.Linear(2, 2, device="cuda").state_dict())
    file.seek(0)
    assert {tensor.device.type for tensor in torch.load(file, map_location=location).values()} == {"cpu"}


def test_parameters_keep_their_identity_there_and_back(recording):
    module = nn.Linear(2, 2)
    weight, bias = module.weight, module.bias
    assert module.cuda().weight is weight and weight.is_cuda
    assert module.cpu().weight is weight and type(weight) is nn.Parameter and not weight.is_cuda
    bias.data = bias.data.cuda()
    assert module.bias is bias and isinstance(bias, nn.Parameter) and bias.is_cuda and bias.requires_grad


def test_training_with_a_scaler(recording):
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1)).to(device)
    optimizer = torch.optim.AdamW(model.parameters())
    scaler = torch.amp.GradScaler("cuda")
    batch = torch.randn(3, 4, device=device)
    recording.clear()
    for _ in range(2):
        optimizer.zero_grad()
        with torch.autocast("cuda", dtype=torch.float16):
            loss = model(batch).mean()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
    assert [tally.raw for tally in recording.tallies.values()] == [2]  # found_inf.item(), once a step


def test_all_threads_and_backward_hooks_are_on_the_device(recording):
    found = []

    def work(*args):
        found.append(torch.zeros(2, device="cuda").device.type)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    x = torch.ones(2, device="cuda", requires_grad=True)
    x.register_hook(work)
    (x * 2).sum().backward()
    assert found == ["sim", "sim"]


def failing(*args):
    raise ValueError("of the hook")


def hook_tensor(model):
    model[1].weight.register_hook(failing)


def hook_module(model):
    model[1].register_full_backward_hook(failing)


def hook_parameter(model):
    model[1].weight.register_post_accumulate_grad_hook(failing)


def hook_in_a_function(model):
    class Fails(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, grad):
            failing()

    model[0].register_forward_hook(lambda module, args, output: Fails.apply(output))


def hook_that_computes(model):
    model[1].weight.register_hook(lambda grad: grad + torch.ones(7))


@pytest.mark.parametrize("hook", [hook_tensor, hook_module, hook_parameter, hook_in_a_function, hook_that_computes])
def test_an_exception_in_backward_arrives_as_itself(recording, hook):
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)).cuda()
    x = torch.ones(1, 2, device="cuda")
    hook(model)
    for _ in range(2):
        with pytest.raises((ValueError, RuntimeError), match=r"of the hook|two devices") as raised:
            model(x).sum().backward()
    assert raised.traceback[-1].name in ("failing", "_check_devices")
    other = nn.Linear(2, 2).cuda()
    other(x).sum().backward()
    assert other.weight.grad.is_cuda


def test_by_default_factories_of_the_model_create_on_the_device():
    with installed(default=True):
        module = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
        assert torch.zeros(2).is_cuda and torch.tensor(1.0).is_cuda and torch.randn(2).is_cuda
        assert all(tensor.is_cuda for tensor in [*module.parameters(), *module.buffers()])
        assert module(torch.randn(4, 2)).is_cuda
        assert torch.distributions.Normal(0.0, 1.0).sample().is_cuda
        assert not torch.zeros(2, device="cpu").is_cuda
        assert not torch.randn(2, generator=torch.Generator().manual_seed(0)).is_cuda
        assert not torch.empty(2, pin_memory=True).is_cuda
        optimizer = torch.optim.AdamW(module.parameters())
        module(torch.randn(4, 2)).sum().backward()
        optimizer.step()
        loader = torch.utils.data.DataLoader(
            torch.utils.data.TensorDataset(torch.ones(4, 2)), batch_size=2, shuffle=True
        )
        assert [batch.shape for (batch,) in loader] == [(2, 2)] * 2
    assert not torch.zeros(2).is_cuda


def test_a_taken_place_is_reported(monkeypatch):
    from auditlint.runtime.backends import Unavailable
    from auditlint.runtime.simulation import registration

    monkeypatch.setattr(registration, "_LIBRARIES", [])
    with pytest.raises(Unavailable, match="torch's one extra device"), installed():
        pass


def test_a_build_for_cuda_is_not_asked_whether_it_captures_a_graph(monkeypatch):
    def driver():
        raise RuntimeError("CUDA driver version is insufficient for CUDA runtime version")

    # What torch's optimizers ask up to 2.11 at the start of each step.
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", driver)
    with installed():
        assert torch.cuda.is_current_stream_capturing() is False


LATE = """
import threading
import torch
(torch.ones(1, requires_grad=True) * 2).backward()
from auditlint.runtime import count_syncs
from auditlint.runtime.backends.simulated import CALLERS_THREAD
threads = []
def fails(grad):
    raise ValueError("of the hook")
with count_syncs("simulated") as counter:
    x = torch.ones(2, device="cuda", requires_grad=True)
    x.register_hook(lambda grad: threads.append(threading.current_thread()))
    (x * 2).sum().backward()
    y = torch.ones(2, device="cuda", requires_grad=True)
    y.register_hook(fails)
    try:
        (y * 2).sum().backward()
    except ValueError as error:
        assert str(error) == "of the hook"
    else:
        raise AssertionError
assert threads == [threading.main_thread()]
assert CALLERS_THREAD in counter.report().blind_spots
"""


def test_after_a_backward_pass_elsewhere_backward_runs_on_the_callers_thread():
    run = subprocess.run([sys.executable, "-W", "ignore", "-c", LATE], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr


def test_autocast_may_be_named_by_keyword() -> None:
    with count_syncs("simulated"), torch.autocast(device_type="cuda", dtype=torch.bfloat16, enabled=True):
        x = torch.ones(2, 2, device="cuda")
        assert (x @ x).dtype is torch.bfloat16
    with count_syncs("simulated"), torch.autocast(device_type="cpu", enabled=False):
        assert torch.ones(2).dtype is torch.float32


def test_a_move_to_the_meta_device_is_no_copy_to_the_host() -> None:
    with count_syncs("simulated") as counter:
        moved = torch.ones(2, 2, device="cuda").to("meta")
    assert moved.device.type == "meta"
    assert counter.report().sites == ()
