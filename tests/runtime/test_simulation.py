"""The simulated device: what it computes, when it makes the host wait, and what that costs."""

from __future__ import annotations

import copy
import io
import pickle
import threading

import pytest

torch = pytest.importorskip("torch", reason="the simulated device is made of torch's CPU kernels")

from auditlint.runtime.simulation.clock import CLOCK, Clock, Latency  # noqa: E402
from auditlint.runtime.simulation.pinned import is_pinned, pin  # noqa: E402
from auditlint.runtime.simulation.registration import register  # noqa: E402
from auditlint.runtime.simulation.tensor import OVERRIDDEN, SimTensor  # noqa: E402
from auditlint.runtime.simulation.traffic import moved  # noqa: E402

register()
SIM = torch.device("sim", 0)


class Heard(list):
    """Waits that the listener was told of: (kind, op, microseconds, thread)."""

    @property
    def names(self):
        return [(kind, op) for kind, op, _, _ in self]


@pytest.fixture
def waits():
    heard = Heard()
    before = CLOCK.listener, CLOCK.latency
    CLOCK.listener = lambda kind, op, us: heard.append((kind, op, us, threading.current_thread()))
    CLOCK.latency = Latency()
    CLOCK.reset()
    yield heard
    CLOCK.listener, CLOCK.latency = before


@pytest.fixture
def x(waits):
    tensor = torch.arange(12.0).reshape(3, 4).to(SIM)
    waits.clear()
    CLOCK.reset()
    return tensor


READ = [("item", "aten::_local_scalar_dense")]
NONZERO = [("dynamic", "aten::nonzero")]
D2H = [("cpu", "aten::_to_copy")]


def test_registering_again_changes_nothing():
    module = torch.sim
    register()
    assert torch.sim is module
    assert torch.accelerator.current_accelerator() == torch.device("sim")
    assert (torch.accelerator.is_available(), torch.accelerator.device_count()) == (True, 1)


def test_a_tensor_says_where_it_is(x):
    assert x.device == SIM and type(x) is SimTensor and not x.is_cuda and x.get_device() == 0
    assert repr(x[0, :2]) == "tensor([0., 1.], device='sim:0')"


@pytest.mark.parametrize(
    ("read", "value"),
    [
        (lambda x: x[1, 1].item(), 5.0),
        (lambda x: float(x[1, 1]), 5.0),
        (lambda x: int(x[1, 1]), 5),
        (lambda x: complex(x[1, 1]), 5 + 0j),
        (lambda x: bool(x[1, 1] > 4), True),
        (lambda x: f"{x[1, 1]:.2f}", "5.00"),
        (lambda x: [10, 20, 30][x[0, 2].long()], 30),
        (lambda x: 5.0 in x, True),
        (lambda x: torch.allclose(x, x), True),
        (lambda x: x.all().is_nonzero(), False),
        (lambda x: torch.tensor([x[1, 1]]).tolist(), [5.0]),
        (lambda x: torch.zeros(x[0, 2].long()).shape, (2,)),
    ],
)
def test_each_way_to_read_one_number_waits_once(x, waits, read, value):
    assert read(x) == value
    assert waits.names == READ


def test_inference_mode_waits_as_ever(x, waits):
    with torch.inference_mode():
        assert (x * 2).sum().item() == 132.0
        assert torch.nn.functional.one_hot(x[0].long()).shape == (4, 4)
        assert [index.shape for index in torch.where(x > 3)] == [(8,), (8,)]
    assert waits.names == READ * 2 + NONZERO


@pytest.mark.parametrize(
    ("use", "expected"),
    [
        (lambda x: x.cpu(), D2H),
        (lambda x: x.to("cpu"), D2H),
        (lambda x: x.tolist(), D2H),
        (lambda x: x.numpy(force=True), D2H),
        (lambda x: torch.zeros(3, 4).copy_(x), [("cpu", "aten::copy_")]),
        (lambda x: torch.zeros(3, 4).copy_(x, non_blocking=True), [("cpu", "aten::copy_")]),
        (lambda x: pin(torch.zeros(3, 4)).copy_(x, non_blocking=True), []),
        (lambda x: pin(torch.zeros(3, 4))[1].copy_(x[1], non_blocking=True), []),
        (lambda x: pin(torch.zeros(3, 4)).copy_(x), [("cpu", "aten::copy_")]),
        (lambda x: x.to("cpu", non_blocking=True), []),
        (lambda x: torch.zeros(3, 4).to(SIM), [("h2d", "aten::copy_")]),
        (lambda x: torch.zeros(3, 4).to(SIM, non_blocking=True), []),
        (lambda x: torch.tensor([1, 2], device=SIM), [("h2d", "aten::copy_")]),
        (lambda x: x.copy_(torch.zeros(3, 4)), [("h2d", "aten::copy_")]),
        (lambda x: x.copy_(torch.zeros(3, 4), non_blocking=True), []),
        (lambda x: x.new_tensor([1.0]), [("h2d", "aten::copy_")]),
        (lambda x: x[[0, 2]], [("h2d", "aten::copy_")]),
        (lambda x: torch._foreach_copy_([torch.zeros(3, 4)], [x]), [("cpu", "aten::copy_")]),
        (lambda x: x.to(torch.float16), []),
        (lambda x: x.to(SIM), []),
        (lambda x: copy.deepcopy(x), []),
        (lambda x: copy.copy(x), []),
        (lambda x: torch.zeros(2, device=SIM), []),
        (lambda x: pickle.dumps(x), D2H),
    ],
)
def test_copies_wait_unless_told_not_to(x, waits, use, expected):
    use(x)
    assert waits.names == expected


@pytest.mark.parametrize(
    ("use", "expected"),
    [
        (lambda x: x[x > 3], NONZERO),
        (lambda x: x.nonzero(), NONZERO),
        (lambda x: torch.argwhere(x), NONZERO),
        (lambda x: torch.where(x > 3), NONZERO),
        (lambda x: x.masked_select(x > 3), [("dynamic", "aten::masked_select")]),
        (lambda x: x.__setitem__(x > 3, x.sum()), NONZERO),
        (lambda x: x.__setitem__(x > 3, 1.0), []),
        (lambda x: x.__setitem__(x > 3, torch.tensor(1.0)), []),
        (lambda x: x.masked_fill(x > 3, x.sum()), [("cast", "aten::masked_fill_")]),
        (lambda x: x.masked_fill(x > 3, 0.0), []),
        (lambda x: torch.unique(x), [("dynamic", "aten::_unique2")]),
        (lambda x: torch.equal(x, x), [("compare", "aten::equal")]),
        (lambda x: torch.repeat_interleave(x[0], x[0].long(), output_size=6), []),
        (lambda x: torch.repeat_interleave(x[0], x[0].long()), [("dynamic", "aten::repeat_interleave")] * 2),
        (lambda x: torch.nn.functional.one_hot(x.long()), READ),
        (lambda x: torch.nn.functional.one_hot(x.long(), 12), []),
        (lambda x: torch.linalg.inv(x @ x.T + torch.eye(3, device=SIM)), [("dynamic", "aten::_linalg_check_errors")]),
        (lambda x: torch.linalg.inv_ex(x @ x.T + torch.eye(3, device=SIM)), []),
        (lambda x: torch.histc(x), [("dynamic", "aten::histc")] * 2),
        (lambda x: torch.histc(x, 4, 0, 12), []),
        (lambda x: torch.linspace(x[0, 0], x[0, 1], 3), READ * 2),
        (lambda x: x.std(), []),
        (lambda x: torch.quantile(x, 0.5), []),
        (lambda x: torch.multinomial(x, 2), []),
        (lambda x: torch._assert_async((x >= 0).all()), []),
        (lambda x: x[x[0].long().clamp(max=2)], []),
        (lambda x: x + torch.tensor(1.0), []),
    ],
)
def test_kernels_that_need_a_value_on_the_host_wait(x, waits, use, expected):
    use(x)
    assert waits.names == expected


def test_printing_reads_element_by_element_as_torch_does_on_a_device(x, waits):
    assert f"{x[0, 0]!r}" == "tensor(0., device='sim:0')"
    single = len(waits)
    waits.clear()
    str(x.exp())
    assert len(waits) > 12 and single < 12
    # The elements of the last dimension are converted row by row, with `tolist`.
    assert set(waits.names) == {*READ, *D2H, ("dynamic", "aten::masked_select")}


NUMPY = "can't convert sim:0 device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host memory first."


@pytest.mark.parametrize(
    "convert", [lambda x: x.numpy(), lambda x: x.__array__(), lambda x: pytest.importorskip("numpy").asarray(x)]
)
def test_numpy_is_refused_in_torchs_words(x, waits, convert):
    with pytest.raises(TypeError) as refused:
        convert(x)
    assert str(refused.value) == NUMPY
    assert not waits


MIXED = "Expected all tensors to be on the same device, but found at least two devices, sim:0 and cpu!"


@pytest.mark.parametrize(
    "mix",
    [
        lambda x, host: x + host,
        lambda x, host: host + x,
        lambda x, host: x @ host.T,
        lambda x, host: torch.cat([x, host]),
        lambda x, host: host.add_(x),
        lambda x, host: host + x.sum(),
        lambda x, host: torch.nn.functional.linear(host, x),
    ],
)
def test_host_tensors_do_not_mix_with_the_devices(x, mix):
    with pytest.raises(RuntimeError) as refused:
        mix(x, torch.zeros(3, 4))
    assert str(refused.value) == MIXED


def test_a_host_tensor_cannot_be_indexed_from_the_device(x):
    with pytest.raises(RuntimeError, match="indices should be either on cpu or on the same device"):
        torch.zeros(3, 4)[x > 3]


def test_times_and_bytes_are_exact(x, waits):
    y = x + 1  # host 5, device 5 + 20
    z = y * 2  # host 10, device 45
    assert (CLOCK.host, CLOCK.device) == (10.0, 45.0)
    assert z[0, 0].item() == 2.0  # a copy: host 15, device 50; a wait: 35 for the device and 10 for itself
    assert waits[0][2] == 45.0
    assert CLOCK.host == 60.0
    z.cpu()  # host 65, device 70; waits 5 + 10
    assert CLOCK.host == 80.0
    torch.zeros(2, 3).to(SIM, non_blocking=True)
    counts = CLOCK.counts()
    assert counts == (2, 3, 2, 60.0, 4 + 48, 24)
    assert (counts.kernels, counts.copies, counts.waits, counts.waited_us, counts.d2h, counts.h2d) == counts


def test_views_cost_no_kernel_and_share_memory(x):
    view = x.t()[:, 0].unsqueeze(0).view(-1)[1:3]
    assert CLOCK.counts().kernels == 0
    view.zero_()
    assert x.flatten()[1].item() == 0.0
    assert CLOCK.counts().kernels == 1


def test_the_latency_model_can_be_replaced(x, waits):
    CLOCK.latency = Latency(launch=1, kernel=2, copy=3, sync=4)
    (x + 1).sum().item()
    assert CLOCK.host == 3 + (8 - 3) + 4
    assert str(CLOCK.latency) == "virtual clock: launch 1 us, kernel 2 us, copy 3 us, sync 4 us"


def test_with_a_bandwidth_kernels_take_as_long_as_their_bytes(x, waits):
    CLOCK.latency = Latency(launch=1, kernel=2, copy=3, sync=4, bandwidth=0.001)  # a byte a microsecond
    assert str(CLOCK.latency).endswith("sync 4 us, memory 0.001 GB/s")
    x + 1  # 48 bytes in and out; numbers are on the host
    assert CLOCK.mark() == 1 + 2 + 96
    index = torch.zeros(1, dtype=torch.long).to(SIM)
    CLOCK.reset()
    row = x[index]  # one row looked up, in and out
    assert CLOCK.mark() == 1 + 2 + 32
    CLOCK.reset()
    x.index_copy_(0, index, row)  # one row written
    assert CLOCK.mark() == 1 + 2 + 32


def test_an_expanded_tensor_is_read_once():
    row = torch.ones(1, 4)
    assert moved("mul", (row.expand(3, 4), 2.0), {}, torch.ones(3, 4)) == 16 + 48
    assert moved("embedding", (torch.ones(100, 4), torch.tensor([1])), {}, row) == 32


def test_a_trace_tells_what_host_and_device_did(x, waits):
    CLOCK.trace = []
    try:
        (x + 1)[0, 0].item()
        spans = CLOCK.trace
    finally:
        CLOCK.trace = None
    assert spans == [
        ("host", "launch", 0.0, 5.0),
        ("device", "kernel", 5.0, 25.0),
        ("host", "launch", 5.0, 10.0),
        ("device", "copy", 25.0, 30.0),
        ("host", "wait", 10.0, 40.0),
    ]


def test_a_clock_alone_needs_no_listener():
    clock = Clock(Latency(1, 10, 1, 0))
    clock.launch()
    assert not clock.reached(clock.mark())
    clock.wait("item", "aten::_local_scalar_dense")
    assert clock.host == 11 and clock.reached(clock.mark())


def test_events_and_streams_tell_the_virtual_time(x, waits):
    start, end = torch.sim.Event(enable_timing=True), torch.sim.Event(enable_timing=True)
    assert start.query()
    start.record()
    for _ in range(10):
        x + 1
    end.record(torch.sim.current_stream())
    assert not end.query()
    end.synchronize()
    assert end.query()
    assert start.elapsed_time(end) == pytest.approx(0.205)  # 5 to the first start, then 10 kernels of 20
    with pytest.raises(ValueError, match="recorded"):
        start.elapsed_time(torch.sim.Event())
    stream = torch.sim.Stream()
    with stream, torch.sim.stream(stream):
        x + 1
    stream.wait_stream(torch.sim.current_stream())
    stream.record_event().wait()
    assert not stream.query()
    stream.synchronize()
    assert stream.query()
    torch.sim.synchronize()
    assert waits.names == [
        ("synchronize", "Event.synchronize"),
        ("synchronize", "Stream.synchronize"),
        ("synchronize", "torch.sim.synchronize"),
    ]


def test_the_listener_hears_of_the_thread_that_waits(x, waits):
    thread = threading.Thread(target=lambda: x.sum().item())
    thread.start()
    thread.join()
    assert [heard[3] for heard in waits] == [thread]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.int32, torch.bool, torch.complex64])
def test_dtypes_travel_and_compute(x, dtype):
    moved = x.to(dtype)
    assert moved.dtype == dtype and torch.equal((moved + moved).cpu(), x.cpu().to(dtype) + x.cpu().to(dtype))


def test_in_place_and_out_keep_tensors_themselves(x):
    before = x
    x.add_(1).mul_(2)
    x += 1
    assert x is before and x[0, 0].item() == 3.0
    out = torch.empty(0, device=SIM)
    assert torch.add(x, x, out=out) is out and out.shape == (3, 4) and out.stride() == (4, 1)
    assert x.clone().t_().shape == (4, 3) and x.clone().resize_(2, 2).tolist() == [[3.0, 5.0], [7.0, 9.0]]
    assert x.clone().unsqueeze_(0).squeeze_().stride() == (4, 1)
    assert torch.empty(2, device=SIM).set_(x).shape == (3, 4)
    values, indices = x.sort(descending=True)
    assert values.device == indices.device == SIM


def test_assigning_data_assigns_values(x):
    parameter = torch.nn.Parameter(x.clone())
    parameter.data = parameter.data.half() * 0
    assert parameter.dtype == torch.float16 and parameter.abs().sum().item() == 0.0
    parameter.data.add_(1)
    assert parameter.sum().item() == 12.0


def test_saving_and_loading(x, waits):
    x.note = "kept"
    parameter = torch.nn.Parameter(x.clone())
    loaded = pickle.loads(pickle.dumps(x))
    assert loaded.device == SIM and loaded.note == "kept" and torch.equal(loaded, x)
    file = io.BytesIO()
    waits.clear()
    torch.save({"x": x.detach(), "p": parameter}, file)
    assert waits.names == D2H * 2
    file.seek(0)
    again = torch.load(file)
    assert again["x"].device == SIM and again["p"].requires_grad
    file.seek(0)
    assert torch.load(file, map_location="cpu")["x"].device.type == "cpu"


def test_storages_are_not_loaded_to_a_device_without_any():
    file = io.BytesIO()
    torch.save(torch.ones(2), file)
    file.seek(0)
    with pytest.raises(RuntimeError, match="load to the CPU, then move"):
        torch.load(file, map_location="sim")


def test_copies_of_tensors_and_modules(x):
    x.note = [1]
    shallow, deep = copy.copy(x), copy.deepcopy(x)
    x.add_(1)
    assert torch.equal(shallow, x) and not torch.equal(deep, x)
    assert shallow.note is x.note and deep.note == [1] and deep.note is not x.note
    module = torch.nn.Linear(2, 2, device=SIM)
    module.again = module.weight
    twin = copy.deepcopy(module)
    assert twin.again is twin.weight and isinstance(twin.weight, torch.nn.Parameter)
    twin.weight.data.zero_()
    assert module.weight.abs().sum().item() > 0
    module.load_state_dict(twin.state_dict())
    assert module.weight.abs().sum().item() == 0


def test_moving_a_module_keeps_its_parameters_and_their_optimizer():
    module = torch.nn.Linear(2, 2)
    weight = module.weight
    optimizer = torch.optim.SGD([weight], lr=1.0)
    module.to(SIM)
    assert module.weight is weight and weight.device == SIM and isinstance(weight, torch.nn.Parameter)
    before = weight.detach().clone()
    module(torch.ones(1, 2, device=SIM)).sum().backward()
    optimizer.step()
    assert not torch.equal(weight, before)


def test_pinned_memory_is_forgotten_with_its_storage():
    host = pin(torch.zeros(4))
    assert is_pinned(host) and is_pinned(host[1:]) and not is_pinned(torch.zeros(4))
    with pytest.raises(RuntimeError, match="only dense CPU tensors"):
        torch.zeros(2, device=SIM).pin_memory()


def test_overridden_methods_are_those_of_the_class():
    own = {name for name in vars(SimTensor) if callable(getattr(torch.Tensor, name, None))}
    technical = {"__new__", "__init__", "__copy__", "__torch_function__", "__torch_dispatch__"}
    assert own - technical - {"__class__"} == {*OVERRIDDEN, "__tensor_flatten__", "__tensor_unflatten__"} & own
    assert set(OVERRIDDEN) <= own


def test_sparse_tensors_stay_on_the_device(x, waits):
    sparse = x.to_sparse()
    assert sparse.device == SIM and sparse.layout == torch.sparse_coo
    assert torch.equal((sparse @ x.T).cpu(), x.cpu() @ x.cpu().T)
    assert waits.names[0] == ("dynamic", "aten::_to_sparse")
