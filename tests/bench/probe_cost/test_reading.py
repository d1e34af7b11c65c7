"""The size of a real module: what is read off it, from where, and what the user says besides."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="reads modules of torch")

from auditlint.bench.probe_cost.presets import Model
from auditlint.bench.probe_cost.reading import Given, read
from auditlint.console import UsageError

FACTORIES = """
from types import SimpleNamespace

import torch
from torch import nn

print("imported")


class Block(nn.Module):
    def __init__(self, width, experts=0):
        super().__init__()
        self.attention = nn.Linear(width, width, bias=False)
        self.experts = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in range(experts))


class Decoder(nn.Module):
    def __init__(self, width=16, layers=3, experts=0, config=None, tied=True):
        super().__init__()
        self.embedding = nn.Embedding(50, width)
        self.positions = nn.Embedding(10, 7)
        self.blocks = nn.ModuleList(Block(width, experts) for _ in range(layers))
        self.head = nn.Linear(width, 50, bias=False)
        if tied:
            self.head.weight = self.embedding.weight
        if config is not None:
            self.config = config


plain = Decoder
configured = lambda: Decoder(config=SimpleNamespace(n_embd=24, n_layer=5))
nested = lambda: Decoder(config=SimpleNamespace(text_config=SimpleNamespace(hidden_size=8, num_hidden_layers=9)))
mapped = lambda: Decoder(config={"dim": 12, "n_layers": 4})
odd = lambda: Decoder(config=SimpleNamespace(hidden_size=True, num_hidden_layers="many"))
mixture = lambda: Decoder(experts=8, config=SimpleNamespace(num_local_experts=8, num_experts_per_tok=2))
unknown_mixture = lambda: Decoder(experts=8)
half = lambda: Decoder().to(torch.bfloat16)
bare = lambda: nn.Linear(4, 4)
headless = lambda: nn.ModuleDict({"embedding": nn.Embedding(3, 4)})
empty = nn.Identity
lazy = lambda: nn.LazyLinear(4)
not_a_module = dict
fails = lambda: 1 / 0
leaves = lambda: exit(3)
word = "word"


def on_meta():
    with torch.device("meta"):
        return Decoder(width=4096, layers=32)


def packed():
    module = nn.Linear(4, 4, bias=False)
    module.weight = nn.Parameter(torch.zeros(8, dtype=torch.uint8), requires_grad=False)
    return module


class needs_more:
    def __init__(self, argument):
        pass
"""

EMBEDDINGS = 50 * 16 + 10 * 7
BLOCK = 16 * 16


@pytest.fixture
def size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Model]:
    """Reads the model of a factory above, by its name."""
    (tmp_path / "factories.py").write_text(FACTORIES, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "factories", raising=False)
    return lambda factory, **given: read(f"factories:{factory}", Given(**given))


def test_width_and_layers_come_from_the_embedding_and_the_blocks(size: Callable[..., Model]) -> None:
    model = size("plain")
    assert (model.params, model.active_params) == (EMBEDDINGS + 3 * BLOCK,) * 2  # a tied weight counts once
    assert (model.d_model, model.layers, model.dtype) == (16, 3, "float32")
    assert model.source == "read off it: width from the embedding `embedding`, layers from the blocks `blocks`"
    assert model.title == "factories:plain"


@pytest.mark.parametrize(
    ("factory", "width", "layers", "name"),
    [
        ("configured", 24, 5, "n_embd"),
        ("nested", 8, 9, "hidden_size"),
        ("mapped", 12, 4, "dim"),
    ],
)
def test_a_configuration_is_believed_first(
    size: Callable[..., Model], factory: str, width: int, layers: int, name: str
) -> None:
    model = size(factory)
    assert (model.d_model, model.layers) == (width, layers)
    assert f"width from config.{name}" in model.source


def test_a_configuration_without_numbers_is_passed_over(size: Callable[..., Model]) -> None:
    assert size("odd")[3:5] == (16, 3)


def test_experts_count_as_the_configuration_says(size: Callable[..., Model]) -> None:
    model = size("mixture")
    assert model.params == EMBEDDINGS + 3 * 9 * BLOCK
    assert model.active_params == EMBEDDINGS + 3 * 3 * BLOCK
    assert model.layers == 3  # and not the 8 experts
    assert model.source.endswith("2 of 8 experts at work")


def test_experts_of_an_unknown_number_all_count_and_the_report_says_so(size: Callable[..., Model]) -> None:
    model = size("unknown_mixture")
    assert model.params == model.active_params
    assert "all experts counted" in model.source
    assert size("unknown_mixture", active_params=1000).active_params == 1000


def test_what_the_user_says_is_believed(size: Callable[..., Model]) -> None:
    assert size("configured", d_model=99, layers=7)[3:5] == (99, 7)
    assert size("bare", d_model=4, layers=1).source == "read off it: width from --d-model, layers from --layers"


def test_the_dtype_is_that_of_most_parameters(size: Callable[..., Model]) -> None:
    assert size("half").dtype == "bfloat16"


def test_a_model_without_data_is_enough(size: Callable[..., Model]) -> None:
    assert size("on_meta").params == 50 * 4096 + 10 * 7 + 32 * 4096**2


def test_what_the_factory_prints_is_kept_out_of_the_report(
    size: Callable[..., Model], capsys: pytest.CaptureFixture[str]
) -> None:
    size("plain")
    assert capsys.readouterr() == ("", "imported\n")


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        ("bare", "its width cannot be read off it; give --d-model"),
        ("headless", "its layers cannot be read off it; give --layers"),
        ("empty", "has no parameters"),
        ("lazy", "has parameters without a shape"),
        ("packed", "weights of uint8 cannot be counted; give --params and --dtype instead"),
        ("not_a_module", "returned dict, not a torch.nn.Module"),
        ("fails", "`fails()` failed: ZeroDivisionError: division by zero"),
        ("leaves", "`leaves()` failed: SystemExit: 3"),
        ("needs_more", "`needs_more()` failed: TypeError: "),
        ("word", "`word` cannot be called"),
        ("none", "`factories` has no `none`"),
        ("", "not of the form module:factory"),
    ],
)
def test_a_model_that_cannot_be_read_is_one_clear_line(size: Callable[..., Model], factory: str, message: str) -> None:
    given = {"d_model": 4, "layers": 1} if factory == "packed" else {}
    with pytest.raises(UsageError) as raised:
        size(factory, **given)
    text = str(raised.value)
    assert text.startswith(f"--model factories:{factory}: ") and message in text and "\n" not in text


def test_a_module_that_cannot_be_imported_is_one_clear_line(size: Callable[..., Model]) -> None:
    for name, message in (("no_such_module:f", "ModuleNotFoundError"), ("factories", "not of the form")):
        with pytest.raises(UsageError, match=message):
            read(name, Given())


def test_more_at_work_than_there_are_is_refused(size: Callable[..., Model]) -> None:
    with pytest.raises(UsageError, match="is more than the model has"):
        size("plain", active_params=10**9)
