"""The generated table is what the installed torch says, and says what the analysis relies on."""

from __future__ import annotations

import pytest

from auditlint.facts import returns

KINDS = {
    "array",
    "event",
    "list",
    "module",
    "module_dict",
    "modules",
    "named_modules",
    "named_tensors",
    "none",
    "optimizer",
    "other",
    "scalar",
    "scaler",
    "stream",
    "tensor",
    "tensor_dict",
    "tensors",
}


@pytest.mark.filterwarnings("ignore")
def test_the_table_is_what_the_generator_writes() -> None:
    torch = pytest.importorskip("torch", reason="the generator reads the installed torch")
    if torch.__version__.split("+")[0] != returns.TORCH_VERSION:
        pytest.skip(f"the table is of torch {returns.TORCH_VERSION}")
    from auditlint.facts import generate

    assert generate.text(generate.Torch()) == generate.TARGET.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "table",
    [
        returns.TENSOR_METHODS,
        returns.TENSOR_ATTRIBUTES,
        returns.FUNCTIONS,
        returns.MODULE_CLASSES,
        returns.MODULE_METHODS,
        returns.MODULE_ATTRIBUTES,
        returns.NAMED_FIELDS,
    ],
)
def test_every_kind_is_one_that_the_documentation_names(table: dict[str, str]) -> None:
    assert {part for kind in table.values() for part in kind.split("|")} <= KINDS


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("detach", "tensor"),
        ("__add__", "tensor"),
        ("__eq__", "tensor"),
        ("__getitem__", "tensor"),
        ("__iter__", "tensors"),
        ("add_", "tensor"),
        ("backward", "none"),
        ("chunk", "tensors"),
        ("item", "scalar"),
        ("max", "tensor|tensors"),
        ("new_zeros", "tensor"),
        ("nonzero", "tensor|tensors"),
        ("numel", "scalar"),
        ("numpy", "array"),
        ("register_hook", "other"),
        ("size", "scalar"),
        ("to", "tensor"),
        ("tolist", "list"),
        ("topk", "tensors"),
        ("type", "scalar|tensor"),
    ],
)
def test_tensor_methods(name: str, kind: str) -> None:
    assert returns.TENSOR_METHODS[name] == kind


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("torch.autograd.grad", "tensors"),
        ("torch.cuda.Event", "event"),
        ("torch.cuda.current_stream", "stream"),
        ("torch.cuda.memory_allocated", "scalar"),
        ("torch.distributed.all_reduce", "other"),
        ("torch.distributed.get_rank", "scalar"),
        ("torch.einsum", "tensor"),
        ("torch.equal", "scalar"),
        ("torch.fft.rfft", "tensor"),
        ("torch.linalg.inv_ex", "tensors"),
        ("torch.linalg.vector_norm", "tensor"),
        ("torch.nn.Parameter", "tensor"),
        ("torch.nn.functional.softmax", "tensor"),
        ("torch.nn.utils.clip_grad_norm_", "tensor"),
        ("torch.optim.AdamW", "optimizer"),
        ("torch.save", "none"),
        ("torch.special.erf", "tensor"),
        ("torch.split", "tensors"),
        ("torch.zeros", "tensor"),
    ],
)
def test_functions(name: str, kind: str) -> None:
    assert returns.FUNCTIONS[name] == kind


def test_modules_and_their_parts() -> None:
    assert returns.MODULE_CLASSES["Linear"] == "tensor"
    assert returns.MODULE_CLASSES["LSTM"] == "tensors"
    assert returns.MODULE_METHODS["named_parameters"] == "named_tensors"
    assert returns.MODULE_METHODS["state_dict"] == "tensor_dict"
    assert returns.MODULE_ATTRIBUTES["weight"] == "tensor"
    assert returns.MODULE_ATTRIBUTES["running_mean"] == "tensor"
    assert returns.MODULE_ATTRIBUTES["in_features"] == "scalar"
    assert returns.TENSOR_ATTRIBUTES["shape"] == returns.TENSOR_ATTRIBUTES["device"] == "scalar"
    assert returns.NAMED_FIELDS["values"] == "tensor"


def test_an_attribute_that_other_projects_use_for_submodules_is_left_open() -> None:
    assert not {"head", "norm", "mode", "value"} & set(returns.MODULE_ATTRIBUTES)


def test_constructors_know_where_their_result_lives() -> None:
    assert returns.CONSTRUCTORS["torch.zeros"] == "host_tensor"
    assert returns.CONSTRUCTORS["torch.from_numpy"] == "host_tensor"
    assert returns.CONSTRUCTORS["torch.zeros_like"] == "follows"
    assert returns.CONSTRUCTORS["torch.as_tensor"] == "data"
    assert {"torch.zeros", "torch.tensor", "torch.arange"} <= returns.DEVICE_KEYWORD
    assert "torch.from_numpy" not in returns.DEVICE_KEYWORD
    known = {name for name, kind in returns.FUNCTIONS.items() if "tensor" in kind}
    assert {name for name in returns.CONSTRUCTORS if not name.endswith("Tensor")} <= known
