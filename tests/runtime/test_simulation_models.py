"""Models on the simulated device: the same numbers as on the CPU, forward and backward, without a wait."""

from __future__ import annotations

import copy
import threading

import pytest

torch = pytest.importorskip("torch", reason="the simulated device is made of torch's CPU kernels")

from auditlint.runtime.simulation.clock import CLOCK  # noqa: E402
from auditlint.runtime.simulation.registration import register  # noqa: E402

register()
SIM = torch.device("sim", 0)
nn = torch.nn
IDS = torch.tensor([[1, 5, 3], [2, 1, 9]])


def rand(*shape):
    return torch.linspace(-1.5, 1.5, torch.Size(shape).numel()).sin().reshape(shape)


def first(outputs):
    return outputs[0] if isinstance(outputs, tuple) else outputs


@pytest.fixture
def heard():
    waits = []
    before = CLOCK.listener
    CLOCK.listener = lambda kind, op, us: waits.append(op)
    yield waits
    CLOCK.listener = before


MODELS = {
    "linear": (lambda: nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 2)), [rand(3, 4)]),
    "convolution": (
        lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
        [rand(2, 3, 8, 8)],
    ),
    "transposed": (lambda: nn.ConvTranspose1d(3, 2, 3), [rand(2, 3, 5)]),
    "norms": (lambda: nn.Sequential(nn.LayerNorm(4), nn.RMSNorm(4), nn.GroupNorm(2, 4)), [rand(3, 4)]),
    "embedding": (lambda: nn.Embedding(10, 4, padding_idx=1), [IDS]),
    "embedding bag": (lambda: nn.EmbeddingBag(10, 4), [IDS]),
    "attention": (lambda: nn.MultiheadAttention(8, 2, batch_first=True), [rand(2, 5, 8)] * 3),
    "encoder": (lambda: nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True), [rand(2, 5, 8)]),
    "decoder": (
        lambda: nn.TransformerDecoderLayer(8, 2, 16, dropout=0.0, batch_first=True),
        [rand(2, 5, 8), rand(2, 4, 8)],
    ),
    "lstm": (lambda: nn.LSTM(4, 6, 2, bidirectional=True, batch_first=True), [rand(2, 5, 4)]),
    "lstm without bias": (lambda: nn.LSTM(4, 6, bias=False), [rand(2, 5, 4)]),
    "gru": (lambda: nn.GRU(4, 6, 2, batch_first=True), [rand(2, 5, 4)]),
    "rnn": (lambda: nn.RNN(4, 6), [rand(2, 5, 4)]),
    "lstm cell": (lambda: nn.LSTMCell(4, 6), [rand(2, 4)]),
}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", MODELS)
def test_a_model_computes_and_learns_what_it_does_on_the_cpu(name, training, heard):
    make, inputs = MODELS[name]
    torch.manual_seed(0)
    module = make().train(training)
    twin = copy.deepcopy(module).to(SIM)
    ours = [it.clone().requires_grad_(it.is_floating_point()) for it in inputs]
    theirs = [it.to(SIM).requires_grad_(it.is_floating_point()) for it in inputs]
    heard.clear()
    expected, got = first(module(*ours)), first(twin(*theirs))
    expected.pow(2).sum().backward()
    got.pow(2).sum().backward()
    assert not heard
    torch.testing.assert_close(got.detach().cpu(), expected.detach())
    pairs = [*zip(module.parameters(), twin.parameters(), strict=True), *zip(ours, theirs, strict=True)]
    for one, other in pairs:
        assert (one.grad is None) == (other.grad is None)
        if one.grad is not None:
            torch.testing.assert_close(other.grad.cpu(), one.grad, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_the_fast_path_of_the_transformer(mode, heard):
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2).eval()
    twin = copy.deepcopy(encoder).to(SIM)
    padding = torch.tensor([[False] * 5, [False] * 3 + [True] * 2])
    moved, masked = rand(2, 5, 8).to(SIM), padding.to(SIM)
    heard.clear()
    before = CLOCK.counts().kernels
    with mode():
        plain, padded = twin(moved), twin(moved, src_key_padding_mask=masked)
        expected = encoder(rand(2, 5, 8)), encoder(rand(2, 5, 8), src_key_padding_mask=padding)
    assert heard == ["aten::_nested_tensor_from_mask_left_aligned"]
    assert CLOCK.counts().kernels - before < 10  # fused layers
    torch.testing.assert_close(plain.cpu(), expected[0])
    torch.testing.assert_close(padded.cpu()[~padding], expected[1][~padding])


def test_packed_sequences_keep_their_lengths_on_the_host(heard):
    lstm = nn.LSTM(4, 6, batch_first=True)
    twin = copy.deepcopy(lstm).to(SIM)
    lengths = torch.tensor([5, 3, 2])
    moved = rand(3, 5, 4).to(SIM)
    heard.clear()
    outputs = []
    for module, batch in ((lstm, rand(3, 5, 4)), (twin, moved)):
        packed = nn.utils.rnn.pack_padded_sequence(batch, lengths, batch_first=True)
        outputs.append(nn.utils.rnn.pad_packed_sequence(module(packed)[0], batch_first=True)[0])
    assert not heard
    torch.testing.assert_close(outputs[1].cpu(), outputs[0])
    outputs[1].sum().backward()
    assert twin.weight_ih_l0.grad.device == SIM


@pytest.mark.parametrize(
    ("optimizer", "options"),
    [
        (torch.optim.SGD, {"lr": 0.1, "momentum": 0.9}),
        (torch.optim.AdamW, {}),
        (torch.optim.Adam, {"foreach": True}),
        (torch.optim.Adam, {"fused": True}),
        (torch.optim.RMSprop, {}),
    ],
)
def test_optimizers_train_alike_and_do_not_wait(optimizer, options, heard):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    twin = copy.deepcopy(module).to(SIM)
    target = torch.tensor([0, 2, 1])
    batches = ((module, rand(3, 4), target), (twin, rand(3, 4).to(SIM), target.to(SIM)))
    steppers = [optimizer(model.parameters(), **options) for model, _, _ in batches]
    heard.clear()
    for _ in range(3):
        for stepper, (model, batch, wanted) in zip(steppers, batches, strict=True):
            stepper.zero_grad()
            nn.functional.cross_entropy(model(batch), wanted).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            stepper.step()
    assert not heard
    for one, other in zip(module.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(other.detach().cpu(), one.detach(), rtol=1e-3, atol=1e-4)
    steppers[1].load_state_dict(copy.deepcopy(steppers[1].state_dict()))


def test_autocast_runs_products_in_lower_precision():
    linear = nn.Linear(4, 4, device=SIM)
    batch = rand(2, 4).to(SIM)
    with torch.autocast("sim", dtype=torch.bfloat16):
        product = linear(batch)
        shares = product.softmax(-1)
        assert (product.dtype, shares.dtype) == (torch.bfloat16, torch.float32)
        assert nn.functional.scaled_dot_product_attention(*[batch[None]] * 3).dtype == torch.bfloat16
        with torch.autocast("sim", enabled=False):
            assert linear(batch).dtype == torch.float32
    shares.sum().backward()
    assert linear.weight.grad.dtype == torch.float32
    assert linear(batch).dtype == torch.float32


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpoints_compute_again_with_the_same_random_numbers(reentrant):
    module = nn.Sequential(nn.Linear(4, 64), nn.Dropout(0.5))
    module.to(SIM)
    batch = torch.ones(2, 4, device=SIM, requires_grad=True)
    output = torch.utils.checkpoint.checkpoint(module, batch, use_reentrant=reentrant)
    output.sum().backward()
    # Where an output was dropped, its row of weights got no gradient: only so if both passes dropped the same.
    dropped = (output.cpu() == 0).all(0)
    assert 0 < dropped.sum() < 64
    assert torch.equal(module[0].bias.grad.cpu() == 0, dropped)


def test_views_in_place_and_versions_under_autograd():
    def work(x):
        a = x * 1.0
        a[1:3, ::2].mul_(2)
        a.t()[0].add_(1)
        a.view(-1)[3:9].zero_()
        a[a > 0.5] = 0
        a[0] = 5
        a.transpose(0, 1).clamp_(-1, 1)
        return (a.exp() * a).sum()

    host = rand(4, 6).requires_grad_()
    moved = rand(4, 6).to(SIM).requires_grad_()
    expected, got = work(host), work(moved)
    expected.backward()
    got.backward()
    torch.testing.assert_close(got.detach().cpu(), expected.detach())
    torch.testing.assert_close(moved.grad.cpu(), host.grad)
    result = (moved * 1.0).exp()
    result.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        result.sum().backward()


def test_gradients_of_gradients_and_function_transforms():
    x = rand(3).to(SIM).requires_grad_()
    (slope,) = torch.autograd.grad((x**3).sum(), x, create_graph=True)
    slope.sum().backward()
    torch.testing.assert_close(x.grad.cpu(), 6 * rand(3))
    assert torch.vmap(lambda row: (row * 2).sum())(rand(3, 4).to(SIM)).tolist() == (rand(3, 4) * 2).sum(1).tolist()
    assert torch.func.grad(lambda row: (row**2).sum())(rand(3).to(SIM)).device == SIM


def test_hooks_of_every_kind_run_and_backward_has_its_own_thread(heard):
    ran = {}

    def hook(name):
        def note(*args):
            flat = [tensor for arg in args for tensor in (arg if isinstance(arg, (tuple, list)) else (arg,))]
            next(tensor for tensor in flat if isinstance(tensor, torch.Tensor)).sum().item()
            ran.setdefault(name, set()).add(threading.current_thread() is threading.main_thread())

        return note

    def pack(tensor):
        hook("pack")(tensor)
        return tensor

    def unpack(tensor):
        hook("unpack")(tensor)
        return tensor

    linear = nn.Linear(4, 4, device=SIM)
    linear.register_forward_pre_hook(hook("forward_pre"))
    linear.register_forward_hook(hook("forward"))
    linear.register_full_backward_pre_hook(hook("full_backward_pre"))
    linear.register_full_backward_hook(hook("full_backward"))
    linear.weight.register_hook(hook("tensor"))
    linear.bias.register_post_accumulate_grad_hook(hook("post_accumulate"))
    x = rand(2, 4).to(SIM).requires_grad_()
    torch.autograd.graph.register_multi_grad_hook([x], hook("multi_grad"))
    heard.clear()
    with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
        y = (linear(x) ** 2).sum()
    y.grad_fn.register_hook(hook("node"))
    y.grad_fn.register_prehook(hook("node_pre"))
    y.backward()
    forward = {"forward_pre", "forward", "pack"}
    backward = {
        *("full_backward_pre", "full_backward", "tensor", "post_accumulate", "multi_grad"),
        *("unpack", "node", "node_pre"),
    }
    assert {name for name, main in ran.items() if main == {True}} == forward
    assert {name for name, main in ran.items() if main == {False}} == backward
    assert set(heard) == {"aten::_local_scalar_dense"}


def test_a_gradient_that_crosses_to_the_host_waits_in_backward(heard):
    host = rand(3).requires_grad_()
    moved = host.to(SIM, non_blocking=True)
    heard.clear()
    (moved * 2).sum().backward()
    assert host.grad.tolist() == [2.0, 2.0, 2.0]
    assert heard == ["aten::_to_copy"]


def test_compiled_functions_run_eagerly():
    compiled = torch.compile(lambda x: x.sin() + 1, backend="eager")
    torch.testing.assert_close(compiled(rand(3).to(SIM)).cpu(), rand(3).sin() + 1)
