"""Writes `returns.py` from the installed torch: `python -m auditlint.facts.generate [--check]`.

Reads torch's own stubs and annotations, the schemas of its compiled operators, and `untyped.py` for what those leave
open. Needs torch (its version is recorded in the output); the linter never imports this module.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import importlib
import inspect
import re
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from auditlint.facts import untyped

TARGET = Path(__file__).with_name("returns.py")
HEADER = '''"""What each torch callable and attribute gives, as data.

Generated from torch {version} by `python -m auditlint.facts.generate`; do not edit, a test compares.

Kinds: "tensor"; "tensors" (an iterable, tuple or named tuple of tensors); "named_tensors" (pairs of name and tensor);
"tensor_dict"; "scalar" (a value on the host: number, bool, string, size, dtype, device, ...); "array" (numpy); "list"
(of host values); "none"; "module"; "modules"; "named_modules"; "module_dict"; "optimizer"; "event", "stream" and
"scaler" (a GradScaler): objects with methods that wait; "other". "a|b" is one or the other,
by the arguments. "scalar|tensor" is a host value when called without arguments and a tensor otherwise.
"""

from __future__ import annotations
'''

# Words in an annotation, by what they stand for. The first that occurs decides among the non-tensor ones.
SEVERAL = re.compile(r"\b(tuple|Tuple|Sequence|List|list|Iterator|Iterable|return_types|PackedSequence)\b")
TENSOR = re.compile(r"\b(Tensor|Parameter|Buffer|Self|S|_R|SparseSemiStructuredTensor)\b")
SCALAR = re.compile(
    r"\b(_?int|_?float|_?bool|_?complex|str|Number|Size|SymInt|_?dtype|_?device|_?layout|_?qscheme|memory_format|"
    r"Backend|OrderedDict|dict|TypeIs)\b"
)
MODULE = re.compile(r"\b(Module|T_module|_M|ConvT|LinearT)\b")
NAMESPACES = (
    "torch.nn.utils",
    "torch.nn.utils.rnn",
    "torch.nn.utils.parametrize",
    "torch.nn.init",
    "torch.autograd",
    "torch.cuda",
    "torch.mps",
    "torch.xpu",
    "torch.accelerator",
    "torch.cpu",
    "torch.distributed",
    "torch.random",
    "torch.sparse",
    "torch.nested",
)
Kinds = dict[str, str]


def kind_of(annotation: str | None) -> str | None:
    """The kind that a return annotation stands for, or None when it says nothing."""
    if annotation is None or annotation in {"Any", "object"}:
        return None
    text = annotation.replace("'", "")
    if text in {"None", "NoReturn"}:
        return "none"
    if "ndarray" in text:
        return "array"
    if "return_types" in text or "PackedSequence" in text:
        return "tensors"
    if MODULE.search(text):
        return "module"
    if TENSOR.search(text):
        return "tensors" if SEVERAL.search(text) else "tensor"
    if text == "list":
        return "list"
    return "scalar" if SCALAR.search(text) else "other"


def merged(kinds: Iterable[str | None]) -> str | None:
    """One kind for all overloads: those that give a tensor outrank the rest (`Tensor | None` is a tensor)."""
    found = {kind for kind in kinds if kind is not None}
    both = [kind for kind in ("tensor", "tensors") if kind in found]
    if both:
        return "|".join(both)
    for kind in ("module", "scalar", "array", "list", "other", "none"):
        if kind in found:
            return kind
    return None


def expanded(table: Mapping[str, str], prefix: str = "") -> Kinds:
    """{kind: "name name"} to {prefix + name: kind}."""
    return {prefix + name: kind.strip() for kind, names in table.items() for name in names.split()}


def return_annotations(body: Iterable[ast.stmt]) -> dict[str, list[str | None]]:
    """The return annotation of each overload of each function in `body`."""
    found: dict[str, list[str | None]] = {}
    for node in body:
        if isinstance(node, ast.FunctionDef):
            found.setdefault(node.name, []).append(ast.unparse(node.returns) if node.returns else None)
    return found


def functions(body: Iterable[ast.stmt]) -> Kinds:
    """name -> kind for the functions in `body` whose annotations say it."""
    kinds = {name: merged(map(kind_of, returns)) for name, returns in return_annotations(body).items()}
    return {name: kind for name, kind in kinds.items() if kind is not None}


def attributes(body: Iterable[ast.stmt]) -> Kinds:
    """name -> kind for the annotated attributes in `body`."""
    found: Kinds = {}
    for node in body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            kind = kind_of(ast.unparse(node.annotation))
            if kind is not None:
                found[node.target.id] = kind
    return found


class Torch:
    """The installed torch: its modules, and the parsed text of its stubs and sources."""

    def __init__(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.torch: Any = importlib.import_module("torch")
            for name in (*NAMESPACES, "torch.optim"):
                with contextlib.suppress(ImportError):
                    importlib.import_module(name)
        self.root = Path(str(self.torch.__file__)).parent
        self.version: str = self.torch.__version__.split("+")[0]

    def tree(self, path: str) -> list[ast.stmt]:
        return ast.parse((self.root / path).read_text(encoding="utf-8")).body

    def body(self, path: str, name: str) -> list[ast.stmt]:
        """The statements of class `name` in `path`."""
        return next(node.body for node in self.tree(path) if isinstance(node, ast.ClassDef) and node.name == name)

    def module(self, dotted: str) -> ModuleType:
        return importlib.import_module(dotted)


def public(name: str) -> bool:
    return not name.startswith("_") or name.startswith("_foreach_")


def dunder(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")


def tensor_methods(source: Torch) -> Kinds:
    kinds = {
        **functions(source.body("_tensor.py", "Tensor")),
        **functions(source.body("_C/__init__.pyi", "TensorBase")),
        **expanded(untyped.TENSOR_METHODS),
    }
    tensor = source.torch.Tensor
    return {
        name: kind
        for name, kind in kinds.items()
        if (public(name) or dunder(name)) and callable(getattr(tensor, name, None))
    }


def tensor_attributes(source: Torch) -> Kinds:
    tensor = source.torch.Tensor
    kinds = {**attributes(source.body("_C/__init__.pyi", "TensorBase")), **expanded(untyped.TENSOR_ATTRIBUTES)}
    return {name: kind for name, kind in kinds.items() if public(name) and hasattr(tensor, name)}


def schema_functions(source: Torch, namespace: str) -> Kinds:
    """torch.linalg, fft and special have no stub; their operators' schemas give the types."""
    returns: dict[str, list[str]] = {}
    for schema in source.torch._C._jit_get_all_schemas():
        returns.setdefault(schema.name, [str(value.type) for value in schema.returns])
    found: Kinds = {}
    for name in dir(source.module(f"torch.{namespace}")):
        types = returns.get(f"aten::{namespace}_{name}")
        if types is not None and public(name):
            found[f"torch.{namespace}.{name}"] = "tensor" if types == ["Tensor"] else "tensors"
    return found


def signature_functions(source: Torch, dotted: str) -> Kinds:
    """The functions of a namespace written in Python, by their annotations; "other" where there is none."""
    module = source.module(dotted)
    found: Kinds = {}
    for name in dir(module):
        value = getattr(module, name, None)
        # A re-exported decorator or typing name is no function of the namespace.
        if not public(name) or not inspect.isfunction(value) or not str(value.__module__).startswith("torch."):
            continue
        returns = inspect.signature(value).return_annotation
        text = None if returns is inspect.Signature.empty else inspect.formatannotation(returns)
        kind = kind_of(text)
        if kind is not None:
            found[f"{dotted}.{name}"] = kind
    return found


def torch_functions(source: Torch) -> Kinds:
    stub = functions(
        node for parent in source.tree("_C/_VariableFunctions.pyi") for node in (parent, *getattr(parent, "body", ()))
    )
    kinds = {**functions(source.tree("functional.py")), **stub, **expanded(untyped.TORCH)}
    return {f"torch.{n}": kind for n, kind in kinds.items() if public(n) and hasattr(source.torch, n)}


def functional(source: Torch) -> Kinds:
    kinds = {**functions(source.tree("nn/functional.pyi")), **expanded(untyped.FUNCTIONAL)}
    namespace = source.torch.nn.functional
    return {f"torch.nn.functional.{n}": kind for n, kind in kinds.items() if public(n) and hasattr(namespace, n)}


def all_functions(source: Torch) -> Kinds:
    found = {**torch_functions(source), **functional(source)}
    for namespace in ("linalg", "fft", "special"):
        found.update(schema_functions(source, namespace))
    for dotted in NAMESPACES:
        found.update(signature_functions(source, dotted))
    optim = source.module("torch.optim")
    for name, value in vars(optim).items():
        if isinstance(value, type) and issubclass(value, optim.Optimizer):
            found[f"torch.optim.{name}"] = "optimizer"
    found.update(expanded(untyped.FUNCTIONS))
    return found


def module_classes(source: Torch) -> Kinds:
    """Name of each torch.nn class -> what calling an instance gives."""
    nn = source.torch.nn
    calls = expanded(untyped.MODULE_CALLS)
    return {
        name: calls.get(name, "tensor")
        for name, value in vars(nn).items()
        if isinstance(value, type) and issubclass(value, nn.Module)
    }


def module_methods(source: Torch) -> Kinds:
    kinds = {**functions(source.body("nn/modules/module.py", "Module")), **expanded(untyped.MODULE_METHODS)}
    module = source.torch.nn.Module
    return {name: kind for name, kind in kinds.items() if hasattr(module, name) and (public(name) or dunder(name))}


def module_attributes(source: Torch) -> Kinds:
    """Annotated attributes of all torch.nn classes; a tensor in one (`Linear.bias`) outranks a flag in another."""
    found: dict[str, list[str]] = {}
    classes = module_classes(source)
    for path in sorted((source.root / "nn" / "modules").glob("*.py")):
        for node in source.tree(f"nn/modules/{path.name}"):
            if isinstance(node, ast.ClassDef) and node.name in {*classes, "_ConvNd", "_BatchNorm", "_NormBase"}:
                for name, kind in attributes(node.body).items():
                    found.setdefault(name, []).append(kind)
    kinds = {
        name: merged(kinds)
        for name, kinds in found.items()
        if public(name) and name not in untyped.AMBIGUOUS_ATTRIBUTES
    }
    return {**{n: kind for n, kind in kinds.items() if kind}, **expanded(untyped.MODULE_ATTRIBUTES)}


def named_fields(source: Torch) -> Kinds:
    """Fields of the named tuples that torch functions return."""
    found: Kinds = {}
    for node in source.tree("return_types.pyi"):
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            for field in node.body:
                if isinstance(field, ast.FunctionDef) and not dunder(field.name):
                    found[field.name] = "tensor"
    return found | expanded(
        {
            "tensor": "eigenvalues eigenvectors U S Vh V Q R L P LU LD pivots info inverse result sign logabsdet "
            "solution residuals rank singular_values values indices"
        }
    )


def parameters(stub: ast.FunctionDef) -> Iterator[tuple[str, str]]:
    """(name, annotation) of each parameter."""
    for arg in (*stub.args.posonlyargs, *stub.args.args, *stub.args.kwonlyargs):
        yield arg.arg, ast.unparse(arg.annotation) if arg.annotation else ""


def constructors(source: Torch) -> tuple[Kinds, set[str]]:
    """Functions with a `device` argument -> where their result lives without it, and their names."""
    kinds: dict[str, set[str]] = {}
    for node in source.tree("_C/_VariableFunctions.pyi"):
        if not isinstance(node, ast.FunctionDef) or not public(node.name):
            continue
        given = dict(parameters(node))
        if "device" not in given:
            continue
        # An overload that takes a tensor builds its result where that tensor lives.
        follows = any("Tensor" in text for name, text in given.items() if name != "out")
        kinds.setdefault(node.name, set()).add("follows" if follows else "host_tensor")
    found = {f"torch.{n}": k.pop() if len(k) == 1 else "host_tensor" for n, k in kinds.items()}
    devices = {*found, "torch.tensor", "torch.as_tensor", "torch.asarray"}
    found.update(
        expanded(
            {
                "host_tensor": "torch.Tensor torch.FloatTensor torch.DoubleTensor torch.HalfTensor "
                "torch.BFloat16Tensor torch.LongTensor torch.IntTensor torch.ShortTensor torch.CharTensor "
                "torch.ByteTensor torch.BoolTensor torch.from_numpy torch.frombuffer torch.get_rng_state "
                "torch.from_file torch.fft.fftfreq torch.fft.rfftfreq torch.cuda.get_rng_state "
                "torch.mps.get_rng_state torch.random.get_rng_state",
                # Any other data than a tensor gives a host tensor.
                "data": "torch.tensor torch.as_tensor torch.asarray torch.normal",
                "follows": "torch.sparse_coo_tensor torch.sparse_csr_tensor torch.nested.nested_tensor",
            }
        )
    )
    devices |= {"torch.fft.fftfreq", "torch.fft.rfftfreq"}
    return {n: k for n, k in found.items() if lookup(source, n)}, {n for n in devices if lookup(source, n)}


def lookup(source: Torch, dotted: str) -> bool:
    """Whether `dotted` exists in the installed torch."""
    value: Any = source.torch
    for part in dotted.split(".")[1:]:
        value = getattr(value, part, None)
    return value is not None


def rendered(name: str, kinds: Kinds) -> str:
    lines = "".join(f'    "{key}": "{kinds[key]}",\n' for key in sorted(kinds))
    return f"{name}: dict[str, str] = {{\n{lines}}}\n"


def text(source: Torch) -> str:
    """The whole of `returns.py`."""
    made, devices = constructors(source)
    methods = tensor_methods(source)
    tables = {
        "TENSOR_METHODS": methods,
        "TENSOR_ATTRIBUTES": tensor_attributes(source),
        "FUNCTIONS": all_functions(source),
        "MODULE_CLASSES": module_classes(source),
        "MODULE_METHODS": module_methods(source),
        "MODULE_ATTRIBUTES": module_attributes(source),
        "NAMED_FIELDS": named_fields(source),
    }
    parts = [HEADER.format(version=source.version), f'TORCH_VERSION = "{source.version}"\n']
    parts += [rendered(name, kinds) for name, kinds in tables.items()]
    parts.append(
        "# Where the result of a factory lives when no device is given: on the host, where its tensor argument\n"
        '# lives ("follows"), or ("data") where its data lives if that is a tensor and on the host if not.\n'
        + rendered("CONSTRUCTORS", made)
    )
    listed = "".join(f'        "{name}",\n' for name in sorted(devices))
    parts.append(f"DEVICE_KEYWORD: frozenset[str] = frozenset(\n    {{\n{listed}    }}\n)\n")
    return "\n".join(parts)


def main(arguments: list[str] | None = None) -> int:
    """Write the table, or with --check compare it; 1 when it differs."""
    parser = argparse.ArgumentParser(prog="python -m auditlint.facts.generate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare instead of writing; exit 1 when different")
    check: bool = parser.parse_args(arguments).check
    made = text(Torch())
    if check:
        same = TARGET.exists() and TARGET.read_text(encoding="utf-8") == made
        print("returns.py is up to date" if same else "returns.py differs: run python -m auditlint.facts.generate")
        return 0 if same else 1
    TARGET.write_text(made, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
