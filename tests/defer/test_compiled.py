"""`defer` in code that torch.compile has compiled: right values, no recompilation, or a refusal with a way out."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the deferral library needs torch")

from auditlint.defer import DeviceBuffer, defer, outside_graph  # noqa: E402


def compiled(hook, *, fullgraph: bool = False):
    """A compiled model with `hook` on its two layers, and a list of the graphs that are compiled for it."""
    torch._dynamo.reset()
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    model = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Linear(3, 3))
    for layer in model:
        layer.register_forward_hook(hook)
    return torch.compile(model, backend=backend, fullgraph=fullgraph), graphs


def test_a_compiled_hook_defers_with_a_graph_break_and_no_recompilation() -> None:
    norms = []

    def hook(module, args, output):
        keep(output.norm())

    @outside_graph
    def keep(tensor):
        norms.append((defer(tensor), tensor))

    model, graphs = compiled(hook)
    for step in range(12):
        model(torch.randn(2, 3))
        if step == 0:
            first = len(graphs)
    assert len(norms) == 24 and len(graphs) == first
    assert all(value == tensor.item() for value, tensor in norms)


def test_a_compiled_hook_marked_as_a_whole_runs_as_it_stands() -> None:
    log = []

    @outside_graph
    def hook(module, args, output):
        log.append({"norm": defer(output.norm()), "tensor": output.norm()})

    model, graphs = compiled(hook)
    for step in range(12):
        model(torch.randn(2, 3))
        if step == 0:
            first = len(graphs)
    assert len(log) == 24 and len(graphs) == first
    assert all(entry["norm"] == entry["tensor"].item() for entry in log)


def test_defer_called_directly_from_compiled_code_gives_the_right_values() -> None:
    kept = {}

    def hook(module, args, output):
        kept["norm"], kept["tensor"] = defer(output.norm()), output

    model, graphs = compiled(hook)
    for step in range(12):
        model(torch.randn(2, 3))
        assert kept["norm"] == kept["tensor"].norm().item()
        if step == 1:
            first = len(graphs)
    assert len(graphs) == first


def test_fullgraph_is_refused_with_what_to_use_instead() -> None:
    kept = {}
    model, _ = compiled(lambda module, args, output: kept.update(norm=defer(output.norm())), fullgraph=True)
    with pytest.raises(torch._dynamo.exc.Unsupported, match=f"capture with auditlint.defer.{DeviceBuffer.__name__}"):
        model(torch.randn(2, 3))
