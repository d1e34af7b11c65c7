"""What is called a sync is one: each entry whose evidence is an experiment is run and counted again."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable

import pytest

from auditlint.facts.syncs import NOT_SYNCS, ROWS, SYNCS, Sync

KINDS = {
    "item",
    "cpu",
    "tolist",
    "cast",
    "format",
    "numpy",
    "synchronize",
    "serialise",
    "truth",
    "builtin",
    "dynamic",
    "compare",
    "index",
    "h2d",
}
CONDITION = re.compile(
    r"always|one_argument|to_cpu|to_device|host_destination|host_source"
    r"|missing:\w+@[\d-](,\w+@[\d-])*|(true|contains|host|device):\w+@[\d-]|tensor:\w+@([\d-]|\d\+)"
)

Count = Callable[[str, str], Counter[str]]

NAMES = """
import torch, torch.nn.functional as F
L, U, D = torch.linalg, torch.nn.utils, torch.distributions
x = torch.rand(3, 3) + 3 * torch.eye(3)
spd = x @ x.T + torch.eye(3)
s, i, one, zero = torch.tensor(1.5), torch.tensor(2), torch.tensor(1), torch.tensor(0)
half = torch.tensor(0.5)
v, m = torch.tensor([1, 2, 2, 5]), x > 3
p = torch.nn.Parameter(torch.ones(3)); p.grad = torch.ones(3)
lengths = torch.tensor([3, 2, 1])
window = torch.hann_window(16)
spectrum = torch.stft(torch.rand(100), 16, return_complex=True, window=window)
"""

# An expression for each condition of each operation, in the order of SYNCS[name]; "" where only a device can tell.
WAITS = {
    "Tensor.item": ["s.item()"],
    "Tensor.__float__": ["float(s)"],
    "Tensor.__int__": ["int(i)"],
    "Tensor.__complex__": ["complex(s)"],
    "Tensor.__index__": ["[1, 2, 3][i]"],
    "Tensor.__bool__": ["bool(s)"],
    "Tensor.__contains__": ["s in x"],
    "torch._assert": ["torch._assert(s > 0, '')"],
    "Tensor.__repr__": ["repr(s)"],
    "Tensor.__str__": ["str(s)"],
    "Tensor.__format__": ["f'{s:.2f}'"],
    "torch.nonzero": ["torch.nonzero(x)"],
    "Tensor.nonzero": ["x.nonzero()"],
    "torch.argwhere": ["torch.argwhere(x)"],
    "Tensor.argwhere": ["x.argwhere()"],
    "torch.masked_select": ["torch.masked_select(x, m)"],
    "Tensor.masked_select": ["x.masked_select(m)"],
    "torch.combinations": ["torch.combinations(v)"],
    "torch.nn.utils.rnn.unpad_sequence": ["U.rnn.unpad_sequence(x, lengths)"],
    "Tensor.__getitem__[mask]": ["x[m]"],
    "Tensor.__setitem__[mask,tensor]": ["x.clone().__setitem__(m, x[m].detach())"],
    "Tensor.to_sparse": ["x.to_sparse()"],
    "Tensor.to_sparse_coo": ["x.to_sparse_coo()"],
    "torch.linalg.matrix_exp": ["L.matrix_exp(x)"],
    "torch.matrix_exp": ["torch.matrix_exp(x)"],
    "Tensor.matrix_exp": ["x.matrix_exp()"],
    "torch.where": ["torch.where(m)"],
    "torch.unique": ["torch.unique(v)"],
    "Tensor.unique": ["v.unique()"],
    "torch.unique_consecutive": ["torch.unique_consecutive(v)"],
    "Tensor.unique_consecutive": ["v.unique_consecutive()"],
    "torch.bincount": ["torch.bincount(v)"],
    "Tensor.bincount": ["v.bincount()"],
    "torch.histc": ["torch.histc(x, 5)"],
    "Tensor.histc": ["x.histc(5)"],
    "torch.repeat_interleave": ["torch.repeat_interleave(v, v)", "torch.repeat_interleave(v)"],
    "Tensor.repeat_interleave": ["v.repeat_interleave(v)"],
    "torch.searchsorted": ["torch.searchsorted(x[0], x, sorter=torch.tensor([0, 1, 2]))"],
    "torch.cov": ["torch.cov(x)"],
    "Tensor.cov": ["x.cov()"],
    "torch.corrcoef": ["torch.corrcoef(x)"],
    "Tensor.corrcoef": ["x.corrcoef()"],
    "torch.istft": ["torch.istft(spectrum, 16, window=window)"],
    "Tensor.istft": ["spectrum.istft(16, window=window)"],
    "torch.normal": ["torch.normal(0.0, x)"],
    **{
        f"torch.linalg.{name}": [f"L.{name}(spd)"]
        for name in [
            "cholesky",
            "cond",
            "eig",
            "eigh",
            "eigvals",
            "eigvalsh",
            "inv",
            "ldl_factor",
            "lu_factor",
            "matrix_rank",
            "pinv",
            "svd",
            "svdvals",
        ]
    },
    "torch.linalg.solve": ["L.solve(spd, x)"],
    "torch.cholesky": ["torch.cholesky(spd)"],
    "Tensor.cholesky": ["spd.cholesky()"],
    "torch.inverse": ["torch.inverse(spd)"],
    "Tensor.inverse": ["spd.inverse()"],
    "torch.pinverse": ["torch.pinverse(spd)"],
    "Tensor.pinverse": ["spd.pinverse()"],
    "torch.svd": ["torch.svd(spd)"],
    "Tensor.svd": ["spd.svd()"],
    "torch.linalg.lstsq": ["L.lstsq(spd, x)"],
    "torch.linalg.tensorinv": ["L.tensorinv(torch.eye(6).reshape(2, 3, 6), ind=2)"],
    "torch.linalg.tensorsolve": ["L.tensorsolve(spd, x[0])"],
    "torch.cholesky_inverse": ["torch.cholesky_inverse(torch.eye(3))"],
    "Tensor.cholesky_inverse": ["torch.eye(3).cholesky_inverse()"],
    "torch.svd_lowrank": ["torch.svd_lowrank(spd, 2)"],
    "torch.pca_lowrank": ["torch.pca_lowrank(spd, 2)"],
    "torch.lobpcg": ["torch.lobpcg(torch.eye(9), k=1)"],
    "torch.linalg.inv_ex": ["L.inv_ex(spd, check_errors=True)"],
    "torch.linalg.lu_factor_ex": ["L.lu_factor_ex(spd, check_errors=True)"],
    "torch.linalg.ldl_factor_ex": ["L.ldl_factor_ex(spd, check_errors=True)"],
    "torch.linalg.cholesky_ex": ["L.cholesky_ex(spd, check_errors=True)"],
    "torch.nn.utils.clip_grad_norm_": [
        "U.clip_grad_norm_([p], 1.0, error_if_nonfinite=True)",
        "U.clip_grad_norm_([p], s)",
    ],
    "torch.nn.utils.get_total_norm": ["U.get_total_norm([x], error_if_nonfinite=True)"],
    **{
        f"torch.distributions.{n}": [f"D.{n}(half.expand(3))"]
        for n in ["Bernoulli", "Exponential", "Geometric", "Poisson"]
    },
    **{
        f"torch.distributions.{n}": [f"D.{n}(half.expand(3), s.expand(3))"]
        for n in ["Beta", "Cauchy", "Gamma", "Laplace", "LogNormal", "Normal", "Uniform"]
    },
    **{f"torch.distributions.{n}": [f"D.{n}(x)"] for n in ["Categorical", "Dirichlet", "OneHotCategorical"]},
    "torch.distributions.Multinomial": ["D.Multinomial(3, x)"],
    "torch.distributions.MultivariateNormal": ["D.MultivariateNormal(x[0], torch.eye(3))"],
    "torch.equal": ["torch.equal(x, x)"],
    "Tensor.equal": ["x.equal(x)"],
    "torch.allclose": ["torch.allclose(x, x)"],
    "Tensor.allclose": ["x.allclose(x)"],
    "torch.is_nonzero": ["torch.is_nonzero(s)"],
    "Tensor.is_nonzero": ["s.is_nonzero()"],
    "torch.testing.assert_close": ["torch.testing.assert_close(x, x + 1e-9)"],
    "torch.masked_fill": ["torch.masked_fill(x, m, s)"],
    "Tensor.masked_fill": ["x.masked_fill(m, s)"],
    "Tensor.masked_fill_": ["x.clone().masked_fill_(m, s)"],
    "torch.index_fill": ["torch.index_fill(x, 0, one.view(1), s)"],
    "Tensor.index_fill": ["x.index_fill(0, one.view(1), s)"],
    "Tensor.index_fill_": ["x.clone().index_fill_(0, one.view(1), s)"],
    "torch.linspace": ["torch.linspace(s, 2.0, 5)", "torch.linspace(0.0, s, 5)"],
    "torch.logspace": ["torch.logspace(s, 2.0, 5)", "torch.logspace(0.0, s, 5)"],
    "torch.arange": ["torch.arange(i)"],
    "torch.range": ["torch.range(0, i)"],
    **{
        f"torch.{name}": [f"torch.{name}(i, 3)"]
        for name in ["zeros", "ones", "empty", "rand", "randn", "eye", "tril_indices", "triu_indices"]
    },
    "torch.randint": ["torch.randint(i, (2,))"],
    "torch.randperm": ["torch.randperm(i)"],
    "torch.full": ["torch.full((i,), 1.0)", "torch.full((2,), s)"],
    "torch.full_like": ["torch.full_like(x, s)"],
    "Tensor.new_full": ["x.new_full((2,), s)"],
    "Tensor.new_zeros": ["x.new_zeros(i)"],
    "Tensor.new_ones": ["x.new_ones((i, 2))"],
    "Tensor.new_empty": ["x.new_empty(i)"],
    "Tensor.view": ["x.view(one, 9)"],
    "Tensor.reshape": ["x.reshape(one, 9)"],
    "torch.reshape": ["torch.reshape(x, (one, 9))"],
    "Tensor.expand": ["s.expand(i)"],
    "Tensor.repeat": ["x.repeat(i, 1)"],
    "Tensor.roll": ["x.roll(i)"],
    "torch.roll": ["torch.roll(x, i)"],
    "Tensor.topk": ["x.topk(i)"],
    "torch.topk": ["torch.topk(x, i)"],
    "Tensor.kthvalue": ["x.kthvalue(i)"],
    "torch.kthvalue": ["torch.kthvalue(x, i)"],
    "Tensor.split": ["x.split(i)"],
    "torch.split": ["torch.split(x, i)"],
    "Tensor.chunk": ["x.chunk(i)"],
    "torch.chunk": ["torch.chunk(x, i)"],
    "torch.nn.functional.pad": ["F.pad(x, (i, 0))"],
    "Tensor.select": ["x.select(0, i)"],
    "torch.select": ["torch.select(x, 0, i)"],
    "Tensor.narrow": ["x.narrow(0, zero, 1)"],
    "torch.narrow": ["torch.narrow(x, 0, 0, i)"],
    "Tensor.tensor_split": ["x.tensor_split(i)"],
    "torch.tensor_split": ["torch.tensor_split(x, i)"],
    "torch.add": ["torch.add(x, x, alpha=s)"],
    "Tensor.add": ["x.add(x, alpha=s)"],
    "Tensor.add_": ["x.clone().add_(x, alpha=s)"],
    "torch.sub": ["torch.sub(x, x, alpha=s)"],
    "Tensor.sub": ["x.sub(x, alpha=s)"],
    "Tensor.sub_": ["x.clone().sub_(x, alpha=s)"],
    "Tensor.index_add": ["x.index_add(0, one.view(1), x[:1], alpha=s)"],
    "Tensor.index_add_": ["x.clone().index_add_(0, one.view(1), x[:1], alpha=s)"],
    "torch.index_add": ["torch.index_add(x, 0, one.view(1), x[:1], alpha=s)"],
    "torch.addcmul": ["torch.addcmul(x, x, x, value=s)"],
    "Tensor.addcmul": ["x.addcmul(x, x, value=s)"],
    "Tensor.addcmul_": ["x.clone().addcmul_(x, x, value=s)"],
    "torch.addcdiv": ["torch.addcdiv(x, x, x, value=s)"],
    "Tensor.addcdiv": ["x.addcdiv(x, x, value=s)"],
    "torch.nn.functional.dropout": ["F.dropout(x, half)"],
    "torch.tensor": ["torch.tensor([s, s])", ""],
    "torch.as_tensor": ["torch.as_tensor([s, s])", ""],
    "Tensor.new_tensor": ["x.new_tensor([s, s])", ""],
    "Tensor.__getitem__[scalar]": ["x[i]"],
    "Tensor.__getitem__[slice]": ["x[:i]"],
}

# The same operations without what makes them wait.
WAITLESS = [
    "torch.where(m, x, x)",
    "torch.histc(x, 5, 0, 1)",
    "v.repeat_interleave(2)",
    "L.cholesky_ex(spd)",
    "L.lu_factor_ex(spd)",
    "U.clip_grad_norm_([p], 1.0)",
    "D.Normal(s, s, validate_args=False)",
    "x.masked_fill(m, 0.0)",
    "x.clone().__setitem__(0, s)",
    "torch.zeros(2, 3)",
    "torch.full((2,), 1.0)",
    "x.topk(2)",
    "torch.add(x, s)",
    "torch.stack([s, s])",
    "torch.tensor(s)",
    "x.new_tensor(s)",
    "x[1]",
    "x[one.view(1)]",
]

# No wait on a device, but the CPU build reads a value where a device does something else.
ONLY_ON_CPU = {"Tensor.std", "Tensor.var", "torch.multinomial", "torch._assert_async", "torch.linalg.inv_ex"}
HARMLESS = {
    "Tensor.where": "x.where(m, x)",
    "Tensor.masked_fill": "x.masked_fill(m, 0.0)",
    "Tensor.index_select": "x.index_select(0, one.view(1))",
    "Tensor.gather": "x.gather(1, x.argsort(1))",
    "Tensor.scatter_add": "x.scatter_add(0, x.argsort(0), x)",
    "Tensor.cumsum": "x.cumsum(0)",
    "Tensor.fill_": "x.clone().fill_(s)",
    "Tensor.clamp": "x.clamp(s)",
    "Tensor.pow": "x.pow(s)",
    "Tensor.__deepcopy__": "__import__('copy').deepcopy(x)",
    "Tensor.__eq__": "x == s",
    "torch.stack": "torch.stack([s, s])",
    "torch.cat": "torch.cat([x, x])",
    "torch.isclose": "torch.isclose(x, x)",
    "torch.isin": "torch.isin(x, x)",
    "torch.bernoulli": "torch.bernoulli(m.float())",
    "torch.linalg.solve_triangular": "L.solve_triangular(spd, x, upper=True)",
    "torch.nn.functional.cross_entropy": "F.cross_entropy(x, torch.tensor([0, 1, 2]))",
    "torch.nn.functional.nll_loss": "F.nll_loss(x, torch.tensor([0, 1, 2]))",
    "torch.nn.utils.clip_grad_value_": "U.clip_grad_value_([p], 1.0)",
    "torch.nn.utils.parameters_to_vector": "U.parameters_to_vector([p])",
    "torch.nn.utils.rnn.pad_sequence": "U.rnn.pad_sequence([x, x])",
    "torch.manual_seed": "torch.manual_seed(0)",
}


def experiments() -> list[tuple[str, int, Sync]]:
    """Each (operation, position in its entry, entry) whose evidence is an experiment."""
    return [(n, at, sync) for n, syncs in SYNCS.items() for at, sync in enumerate(syncs) if "exp" in sync.evidence]


def test_each_entry_speaks_the_documented_words() -> None:
    for sync, names in ROWS:
        assert sync.kind in KINDS, names
        assert all(CONDITION.fullmatch(part) for part in sync.when.split(" and ")), sync
        assert sync.cuda or sync.mps, names
        assert re.match(r"(exp|bin|doc|src)\b", sync.evidence), sync


def test_no_row_names_an_operation_twice() -> None:
    for _, names in ROWS:
        listed = names.split()
        assert len(listed) == len(set(listed)), names


def test_nothing_is_both_a_sync_and_harmless() -> None:
    always = {name for name, syncs in SYNCS.items() for sync in syncs if sync.when == "always" and sync.cuda}
    assert not always & NOT_SYNCS


def test_each_experiment_has_its_case() -> None:
    assert [(n, at) for n, at, _ in experiments() if n not in WAITS or not WAITS[n][at : at + 1]] == []


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "at"), [(n, at) for n, at, _ in experiments()])
def test_an_experiment_still_waits(name: str, at: int, counted: Count) -> None:
    assert WAITS[name][at], name
    assert counted(NAMES, WAITS[name][at])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("expression", WAITLESS)
def test_without_its_condition_it_does_not_wait(expression: str, counted: Count) -> None:
    counter = counted(NAMES, expression)
    assert counter["_local_scalar_dense"] == counter["nonzero"] == 0


def harmless() -> list[str]:
    device_only = ("torch.cuda.", "GradScaler.", "Event.", "Stream.")
    return sorted(name for name in NOT_SYNCS - ONLY_ON_CPU if not name.startswith(device_only))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", harmless())
def test_what_is_called_harmless_reads_nothing(name: str, counted: Count) -> None:
    method = name.rsplit(".", 1)[-1]
    guess = f"x.{method}()" if name.startswith("Tensor.") else name + "(spd)"
    assert not counted(NAMES, HARMLESS.get(name, guess))


def test_what_waits_on_mps_alone_is_reported_only_where_it_is_asked_for_by_name() -> None:
    assert [sync.reported for sync in SYNCS["torch.mps.synchronize"]] == [True]
    assert [sync.reported for sync in SYNCS["Tensor.__setitem__[mask,number]"]] == [False]
    assert [sync.reported for sync in SYNCS["Event.elapsed_time"]] == [False]
    assert all(sync.reported for sync in SYNCS["Tensor.item"])
