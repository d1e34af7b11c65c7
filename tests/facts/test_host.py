"""What is said of Python's own callables holds: those that read a tensor do, the harmless ones do not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from auditlint.facts.host import HOST_CALLS, HOST_HARMLESS, HOST_METHODS, HOST_MODULES
from auditlint.facts.syncs import SYNCS

Count = Callable[[str, str], Counter[str]]

NAMES = """
import bisect, cmath, collections, copy, functools, heapq, io, itertools, json, logging, math, operator, pickle, pprint
import random, struct, warnings, weakref, torch
s, i, x = torch.tensor(1.5), torch.tensor(2), torch.rand(3)
"""

READS = {
    "float": "float(s)",
    "int": "int(i)",
    "bool": "bool(s)",
    "complex": "complex(s)",
    "chr": "chr(i)",
    "hex": "hex(i)",
    "oct": "oct(i)",
    "bin": "bin(i)",
    "operator.index": "operator.index(i)",
    "struct.pack": "struct.pack('f', s)",
    "random.choices": "random.choices([1, 2, 3], weights=x)",
    "operator.truth": "operator.truth(s)",
    "operator.not_": "operator.not_(s)",
    "range": "range(i)",
    "itertools.islice": "list(itertools.islice([1, 2, 3], i))",
    "list.index": "[s + 1, s].index(s)",
    "list.count": "[s + 1].count(s)",
    "list.remove": "[s + 1, s].remove(s)",
    "list.sort": "[s, s].sort()",
    "min": "min(s, s)",
    "max": "max([s, s])",
    "sorted": "sorted([s, s])",
    "any": "any([s])",
    "all": "all([s])",
    "heapq.nlargest": "heapq.nlargest(1, [s, s])",
    "heapq.nsmallest": "heapq.nsmallest(1, [s, s])",
    "heapq.heappush": "heapq.heappush([s], s)",
    "bisect.bisect": "bisect.bisect([1.0], s)",
    "bisect.bisect_left": "bisect.bisect_left([1.0], s)",
    "bisect.bisect_right": "bisect.bisect_right([1.0], s)",
    "bisect.insort": "bisect.insort([1.0], s)",
    "print": "print(s, file=io.StringIO())",
    "str": "str(s)",
    "repr": "repr(s)",
    "ascii": "ascii(s)",
    "format": "format(s)",
    "str.format": "'{}'.format(s)",
    "pprint.pprint": "pprint.pprint(s, stream=io.StringIO())",
    "pprint.pformat": "pprint.pformat(s)",
    "json.dump": "json.dump(s, io.StringIO(), default=float)",
    "json.dumps": "json.dumps(s, default=float)",
    "warnings.warn": "warnings.warn(s)",
    **{f"logging.{n}": f"logging.{n}('%s', s)" for n in ("warning", "error", "critical", "exception")},
    "logging.log": "logging.log(logging.ERROR, '%s', s)",
}
# These hand the work on to another library, to a level that is off by default, or to a copy that the CPU does not make.
UNCOUNTED = {"logging.debug", "logging.info", "rich.print", "tqdm.tqdm.write", "warnings.warn"}
ELSEWHERE = ("wandb.", "mlflow.", "pickle.", "cloudpickle.", "dill.", "joblib.", "safetensors.")

HARMLESS = {
    "len": "len(x)",
    "id": "id(x)",
    "hash": "hash(x)",
    "type": "type(x)",
    "isinstance": "isinstance(x, float)",
    "callable": "callable(x)",
    "getattr": "getattr(x, 'shape')",
    "iter": "next(iter(x))",
    "list": "list(x)",
    "tuple": "tuple(x)",
    "dict": "dict([(1, s)])",
    "set": "{s, x}",
    "zip": "list(zip(x, x))",
    "enumerate": "list(enumerate(x))",
    "reversed": "list(reversed(x))",
    "map": "list(map(torch.exp, x))",
    "sum": "sum([s, s])",
    "abs": "abs(s)",
    "pow": "pow(s, 2)",
    "copy.copy": "copy.copy(x)",
    "copy.deepcopy": "copy.deepcopy(x)",
    "functools.partial": "functools.partial(print, x)",
    "operator.gt": "operator.gt(s, 1)",
    "collections.deque": "collections.deque([s], maxlen=1)",
    "collections.Counter": "collections.Counter([s])",
    "weakref.ref": "weakref.ref(x)",
    "max with a key": "max([s, s], key=id)",
    "sorted with a key": "sorted([s, s], key=id)",
    "key of a dict": "{s: 1}[s]",
    "is": "x is None",
    "==": "s == s",
}


def test_each_call_reaches_a_method_that_is_known_to_wait() -> None:
    for name, call in (HOST_CALLS | HOST_METHODS | HOST_MODULES).items():
        assert call.reaches in SYNCS, name
        assert call.reads in {"first", "any", "items", "any|items"}, name


def test_each_call_of_python_has_its_case() -> None:
    missing = {name for name in HOST_CALLS if name not in READS and not name.startswith(ELSEWHERE)}
    assert missing <= UNCOUNTED


@pytest.mark.parametrize("name", [name for name in HOST_CALLS if name in READS and name not in UNCOUNTED])
def test_it_reads_the_tensor(name: str, counted: Count) -> None:
    assert counted(NAMES, READS[name])


@pytest.mark.parametrize("name", HARMLESS)
def test_it_does_not_read_the_tensor(name: str, counted: Count) -> None:
    assert not counted(NAMES, HARMLESS[name])


@pytest.mark.parametrize("call", ["round(s)", "math.trunc(s)", "divmod(s, 2)", "json.dumps(s)"])
def test_some_calls_refuse_a_tensor(call: str, counted: Count) -> None:
    with pytest.raises(TypeError):
        counted(NAMES, call)


@pytest.mark.parametrize("name", ["sqrt", "isnan", "floor", "ceil", "log", "exp"])
def test_functions_of_math_read_the_tensor(name: str, counted: Count) -> None:
    assert f"math.{name}" not in HOST_HARMLESS
    assert counted(NAMES, f"math.{name}(s)")


@pytest.mark.parametrize("name", ["shape", "ndim", "iterable"])
def test_some_functions_of_numpy_ask_only_for_the_shape(name: str) -> None:
    torch = pytest.importorskip("torch", reason="asks torch's meta device, which has no values")
    numpy = pytest.importorskip("numpy")
    assert f"numpy.{name}" in HOST_HARMLESS
    getattr(numpy, name)(torch.empty(2, 3, device="meta"))
