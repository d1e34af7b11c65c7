"""`auditlint bench`: bad input is one line and status 2, and models of one's own are measured."""

from __future__ import annotations

import subprocess
import sys

import pytest

torch = pytest.importorskip("torch", reason="the benches run a model")

from auditlint.bench import factories, models, trials  # noqa: E402
from auditlint.cli import main  # noqa: E402

OWN = '''
import types

import torch


class Whole(torch.nn.Module):
    """Gets all tokens in each pass."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embedding = torch.nn.Embedding(13, 8)
        self.layers = torch.nn.ModuleList(torch.nn.Linear(8, 8) for _ in range(2))
        self.head = torch.nn.Linear(8, 13)
        self.unused = torch.nn.Linear(8, 8)

    def hidden(self, ids):
        x = self.embedding(ids)
        for layer in self.layers:
            x = x + layer(x).tanh()
        return x

    def forward(self, ids):
        return self.head((9 * self.hidden(ids).cumsum(1)).sin())


class Caching(Whole):
    """Returns a cache, and gets it back with the next token."""

    def forward(self, ids, past_key_values=None):
        total = self.hidden(ids).cumsum(1)
        if past_key_values is not None:
            assert ids.shape == (1, 1)
            total = total + past_key_values
        return types.SimpleNamespace(logits=self.head((9 * total).sin()), past_key_values=total[:, -1:])


class Keeping(Whole):
    """Keeps what it saw, until it is reset."""

    def reset(self):
        self.total = 0

    def forward(self, ids):
        assert ids.shape == (1, 1)
        self.total = self.total + self.hidden(ids)
        return (self.head((9 * self.total).sin()),)


class Short(Whole):
    """Has three positions."""

    def forward(self, ids):
        return super().forward(ids) + torch.nn.functional.embedding(torch.tensor(ids.shape[1] - 1), torch.zeros(3, 13))


class Renamed(Caching):
    """Calls its cache by another name."""

    def forward(self, ids, cache=None):
        output = super().forward(ids, past_key_values=cache)
        return types.SimpleNamespace(logits=output.logits, cache=output.past_key_values)


def fails():
    raise RuntimeError("no weights\\nhere")


def number():
    return 3


def raises():
    return torch.nn.Linear(3, 4)


def flat():
    return torch.nn.Flatten()


class Bare(torch.nn.Module):
    """Has no layers."""

    def forward(self, ids):
        return torch.nn.functional.one_hot(ids, 5).float()
'''


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A module with models of the user's own, in the working directory."""
    (tmp_path / "own_models.py").write_text(OWN, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    sys.modules.pop("own_models", None)


@pytest.mark.parametrize("study", ["overhead", "probes"])
@pytest.mark.parametrize("backend", ["cpu", "simulated"])
def test_a_model_of_ones_own_is_measured(own, bench, study, backend):
    arms = {"overhead": "naive,packed", "probes": "item,deferred"}[study]
    more = ["--probes", "2"] if study == "probes" else []
    run = bench(
        study,
        "--backend",
        backend,
        "--model",
        "own_models:Whole",
        "--tokens",
        "3",
        "--trials",
        "1",
        "--arms",
        arms,
        *more,
    )
    assert (run.status, run.err, run.record["audit_data_equal"]) == (0, "", True)
    assert run.record["config"]["model"] == "own_models:Whole" and "sizes" not in run.record["config"]


def test_a_model_generates_the_same_however_it_keeps_what_it_saw(own):
    def generated(name):
        model = factories.made(f"own_models:{name}").eval()
        with torch.no_grad():
            return [token.item() for token in models.tokens(model, model, torch.device("cpu"), 9)]

    assert generated("Whole") == generated("Caching") == generated("Keeping") == generated("Renamed")
    assert len(set(generated("Whole"))) > 1


def test_a_twin_has_hooks_of_its_own_and_the_same_weights(own):
    model = factories.made("own_models:Whole")
    twin = models.twin(model)
    twin.head.register_forward_hook(lambda *arguments: None)
    assert not model.head._forward_hooks and twin.head.weight is model.head.weight


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "`auditlint bench` takes a study; there are overhead and probes"),
        (["overheads"], "no study `overheads`; there are overhead and probes"),
        (["overhead", "--backend", "tpu"], "argument --backend: invalid choice: 'tpu'"),
        (["overhead", "--tokens", "0"], "argument --tokens: not a number from 1 to 1,000,000: '0'"),
        (["overhead", "--tokens", "9" * 5000], "argument --tokens: not a number from 1 to 1,000,000: '999"),
        (["overhead", "--threads", "99999999999"], "argument --threads: not a number from 1 to 1,024: '99999999999'"),
        (["overhead", "--arms", ""], "argument --arms: no name is given"),
        (["overhead", "--layers", ","], "argument --layers: no name is given"),
        (["overhead", "--latency", "sync=3"], "--latency sets the clock of the simulated device, and this is cpu"),
        (["overhead", "--model", "own_models:Whole", "--width", "64"], "--width does not go with --model"),
        (["overhead", "--width", "1000000", "--heads", "1"], "the model cannot be built: RuntimeError: "),
        (
            ["overhead", "--model", "own_models:Short", "--tokens", "4"],
            "the model failed at token 4: IndexError: index",
        ),
        (["probes", "--model", "own_models:Short", "--tokens", "4"], "the model failed at token 4: IndexError: index"),
        (["overhead", "--trials", "-1"], "argument --trials: not a number from 1 to 1,000,000: '-1'"),
        (["overhead", "--arms", "nave"], "no arm `nave`; did you mean `naive`?"),
        (["overhead", "--arms", "x9"], "no arm `x9`; there are none, naive,"),
        (["overhead", "--arms", "none-graphs"], "none-graphs: CUDA graphs need CUDA"),
        (["overhead", "--output", "nowhere/record.json"], "nowhere/record.json: cannot be written: No such file"),
        (["overhead", "--output", "."], ".: cannot be written: "),
        (["overhead", "--output", "p.svg", "--plot", "./p.svg"], "./p.svg: --output and --plot name the same file"),
        (["overhead", "--plot", "p.pdf"], "p.pdf: a picture is .png or .svg"),
        (["overhead", "--latency", "speed=3"], "argument --latency: no latency `speed`"),
        (["overhead", "--latency", "sync=fast"], "argument --latency: not a number: 'sync=fast'"),
        (["overhead", "--latency", "sync=-1"], "argument --latency: not a latency: 'sync=-1'"),
        (["overhead", "--latency", "launch=0"], "argument --latency: a launch that costs nothing"),
        (["overhead", "--width", "15"], "--width 15 is no even multiple of --heads 4"),
        (["overhead", "--chosen", "9"], "--chosen 9 of --experts 8 cannot be chosen"),
        (["overhead", "--layers", "blokcs.*"], "no layer is called 'blokcs.*'"),
        (["overhead", "--model", "own_models"], "--model own_models: not of the form module:factory"),
        (
            ["overhead", "--model", "absent_module:f"],
            "--model absent_module:f: cannot import `absent_module`: ModuleNotFoundError: No module named",
        ),
        (["overhead", "--model", "own_models:absent"], "--model own_models:absent: `own_models` has no `absent`"),
        (
            ["overhead", "--model", "own_models:fails"],
            "--model own_models:fails: `fails()` failed: RuntimeError: no weights here",
        ),
        (
            ["overhead", "--model", "own_models:number"],
            "--model own_models:number: `number()` returned int, not a torch.nn.Module",
        ),
        (["overhead", "--model", "own_models:raises"], "own_models:raises cannot generate: a pass over token ids"),
        (["overhead", "--model", "own_models:flat"], "own_models:flat cannot generate: a pass over token ids"),
        (["overhead", "--model", "own_models:Whole", "--layers", "unused"], "layer unused returns no vectors"),
        (["overhead", "--model", "own_models:Bare"], "no layer of Bare is selected"),
        (["probes", "--probes", "0"], "argument --probes: not a number from 1 to 1,000: '0'"),
        (["probes", "--probes", "1001"], "argument --probes: not a number from 1 to 1,000: '1001'"),
        (["probes", "--scope", "all"], "no scope `all`"),
        (["probes", "--arms", "itme"], "no arm `itme`; did you mean `item`?"),
    ],
)
def test_bad_input_is_one_line_and_status_2(own, capsys, arguments, message):
    device = [] if "--backend" in arguments or not arguments else ["--backend", "cpu"]
    assert main(["bench", *arguments, *device]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith(f"auditlint: error: {message}") and err.count("\n") == 1


@pytest.mark.parametrize("backend", ["cuda", "mps"])
def test_a_device_that_is_not_there_is_one_line(capsys, backend):
    if getattr(torch, "cuda" if backend == "cuda" else "mps").is_available():
        pytest.skip(f"there is a {backend} device")
    assert main(["bench", "overhead", "--backend", backend]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    ("absent", "arguments", "message"),
    [
        ("torch", ["overhead"], "the benches need torch: pip install 'auditlint[bench]'"),
        ("matplotlib", ["overhead", "--plot", "p.png"], "--plot needs matplotlib: pip install 'auditlint[bench]'"),
    ],
)
def test_what_is_not_installed_is_named(tmp_path, monkeypatch, capsys, absent, arguments, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, absent, None)
    assert main(["bench", *arguments]) == 2
    assert capsys.readouterr().err == f"auditlint: error: {message}\n"


def test_a_bar_is_shown_on_a_terminal_only(monkeypatch, capsys):
    pytest.importorskip("tqdm", reason="draws the bar")
    for shown in (False, True):
        with trials.progress(2, shown) as tick:
            tick("naive")
            tick("packed")
        assert ("naive" in capsys.readouterr().err) is shown
    monkeypatch.setitem(sys.modules, "tqdm", None)
    with trials.progress(2, True) as tick:
        tick("naive")
    assert capsys.readouterr().err == ""


def test_help_says_what_there_is(capsys):
    assert main(["bench", "--help"]) == 0
    assert "auditlint bench overhead" in capsys.readouterr().out


def test_linting_does_not_import_the_benches(tmp_path):
    (tmp_path / "hooks.py").write_text("def f(m):\n    m.register_forward_hook(print)\n", encoding="utf-8")
    code = "import sys; from auditlint.cli import main; main(['hooks.py', '--isolated', '--no-cache']); "
    code += "print([it for it in sys.modules if it.split('.')[0] in ('torch', 'matplotlib', 'tqdm') or 'bench' in it])"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]"
