"""One small piece of code for every callable that `host.py` speaks of; how to read them says `cases.py`."""

from __future__ import annotations

from auditlint.facts.cases import Case, each, innocent, same

BUILTIN = each(
    "always",
    {
        "float": "float(s)",
        "int": "int(i)",
        "bool": "bool(s)",
        "complex": "complex(s)",
        **{name: f"{name}(i)" for name in ("chr", "hex", "oct", "bin", "operator.index")},
        "struct.pack": "struct.pack('f', s)",
        "random.choices": "random.choices([1, 2, 3], weights=row)",
        "operator.truth": "operator.truth(s)",
        "operator.not_": "operator.not_(s)",
        "range": "range(i)",
        "itertools.islice": "list(itertools.islice([1, 2, 3], i))",
        "list.index": "[s + 1, s].index(s)",
        "list.count": "[s + 1].count(s)",
        "list.remove": "[s + 1, s].remove(s)",
        "list.sort": "[s, half].sort()",
        "min": "min(s, half)",
        "max": "max([s, half])",
        "sorted": "sorted([s, half])",
        "any": "any([s])",
        "all": "all([s])",
        "heapq.nlargest": "heapq.nlargest(1, [s, half])",
        "heapq.nsmallest": "heapq.nsmallest(1, [s, half])",
        "heapq.heappush": "heapq.heappush([s], half)",
        **{
            f"bisect.{name}": f"bisect.{name}([1.0], s)" for name in ("bisect", "bisect_left", "bisect_right", "insort")
        },
        "print": "print(s, file=io.StringIO())",
        **{name: f"{name}(s)" for name in ("str", "repr", "ascii", "format", "pprint.pformat")},
        "str.format": "'{}'.format(s)",
        "pprint.pprint": "pprint.pprint(s, stream=io.StringIO())",
        "json.dump": "json.dump(s, io.StringIO(), default=float)",
        "json.dumps": "json.dumps(s, default=float)",
        "pickle.dump": "pickle.dump(x, io.BytesIO())",
        "pickle.dumps": "pickle.dumps(x)",
    },
)
OTHERWISE = (
    # The same callables, given the tensors in the other way that the table names.
    Case("min", "always", "min(row)"),
    Case("max", "always", "max(s, half)"),
    Case("any", "always", "any(row > 9)"),
    Case("sorted", "always", "sorted(row)"),
)

# Without a filter that looks at the text, `warnings` refuses a message that is no string.
ALWAYS_SHOWN = "with warnings.catch_warnings():\n    warnings.simplefilter('always')\n    warnings.warn(s)"
ROOT = """
records = logging.StreamHandler(io.StringIO())
root, handlers, level = logging.getLogger(), logging.getLogger().handlers[:], logging.getLogger().level
root.handlers[:] = [records]
root.setLevel(logging.DEBUG)
"""
ROOT_AGAIN = "root.handlers[:] = handlers\nroot.setLevel(level)"
LOGGER = "log = logging.Logger('case')\nlog.addHandler(logging.StreamHandler(io.StringIO()))"
LEVELS = ("debug", "info", "warning", "error", "critical", "exception")

LOGGED = (
    Case("warnings.warn", "always", ALWAYS_SHOWN),
    *(Case(f"logging.{name}", "always", f"logging.{name}('%s', s)", ROOT, ROOT_AGAIN) for name in LEVELS),
    Case("logging.log", "always", "logging.log(logging.ERROR, '%s', s)", ROOT, ROOT_AGAIN),
    *(Case(name, "always", f"log.{name}('%s', s)", LOGGER) for name in LEVELS),
    Case("warn", "always", "log.warning('%s', s)", LOGGER),
)

WRITER = """
import tempfile, torch.utils.tensorboard
folder = tempfile.TemporaryDirectory()
writer = torch.utils.tensorboard.SummaryWriter(folder.name)
"""
WRITER_CLOSED = "writer.close()\nfolder.cleanup()"
SERVICE = "needs a tracking service that is running"

LIBRARIES = (
    Case("rich.print", "always", "rich.print(s, file=io.StringIO())", "import rich"),
    Case(
        "set_postfix",
        "always",
        "bar.set_postfix(loss=s)",
        "import tqdm\nbar = tqdm.tqdm(total=1, file=io.StringIO())",
        "bar.close()",
    ),
    Case("cloudpickle.dump", "always", "cloudpickle.dump(x, io.BytesIO())", "import cloudpickle"),
    Case("cloudpickle.dumps", "always", "cloudpickle.dumps(x)", "import cloudpickle"),
    Case("dill.dump", "always", "dill.dump(x, io.BytesIO())", "import dill"),
    Case("dill.dumps", "always", "dill.dumps(x)", "import dill"),
    Case("joblib.dump", "always", "joblib.dump(x, io.BytesIO())", "import joblib"),
    Case("safetensors.torch.save", "always", "safetensors.torch.save({'x': x})", "import safetensors.torch"),
    Case(
        "safetensors.torch.save_file",
        "always",
        "safetensors.torch.save_file({'x': x}, folder.name + '/x')",
        "import safetensors.torch, tempfile\nfolder = tempfile.TemporaryDirectory()",
        "folder.cleanup()",
    ),
    *(
        Case(op, "always", f"writer.{op}({given})", WRITER, WRITER_CLOSED)
        for op, given in (
            ("add_scalar", "'a', s"),
            ("add_scalars", "'a', {'b': s}"),
            ("add_histogram", "'a', x"),
            ("add_image", "'a', x.view(1, 3, 3)"),
            ("add_images", "'a', x.view(1, 1, 3, 3)"),
            ("add_embedding", "x"),
            ("add_pr_curve", "'a', m, eye"),
        )
    ),
    Case("add_figure", "always", "", cannot="takes a figure; a tensor in it was read when it was drawn"),
    *(
        Case(name, "always", "", cannot=SERVICE)
        for name in ("wandb.log", "mlflow.log_metric", "mlflow.log_metrics", "log_metric", "log_metrics", "log_scalar")
    ),
)

MATH = each(
    "always",
    {
        **same(
            "math",
            "acosh asinh atan ceil cos cosh degrees erf erfc exp expm1 fabs floor frexp gamma isfinite isinf isnan "
            "lgamma log log10 log1p log2 modf radians sin sinh sqrt tan tanh ulp",
            "math.%s(s)",
        ),
        **same("math", "acos asin atanh", "math.%s(half)"),
        **same("math", "atan2 copysign fmod hypot isclose nextafter pow remainder", "math.%s(s, half)"),
        **same("math", "factorial isqrt", "math.%s(i)"),
        **same("math", "comb gcd lcm perm", "math.%s(i, one)"),
        **same("math", "dist", "math.%s(row, row)"),
        **same("math", "fsum", "math.%s(row)"),
        "math.ldexp": "math.ldexp(s, 2)",
        **same("cmath", "exp isfinite log phase polar sqrt", "cmath.%s(s)"),
        **same("cmath", "isclose rect", "cmath.%s(s, half)"),
    },
)

NUMPY = tuple(
    Case(f"numpy.{name}", "always", f"numpy.{name}({given})", "import numpy", refused="device")
    for name, given in (
        *((name, "x") for name in ("array", "asarray", "ascontiguousarray", "copy", "isnan", "log", "nonzero", "sqrt")),
        *((name, "x") for name in ("argmax", "cumsum", "median", "ravel", "transpose", "unique")),
        *((name, "[row, row]") for name in ("concatenate", "stack")),
        ("allclose", "x, x"),
        ("histogram", "x"),
        ("percentile", "x, 5"),
        ("where", "m, x, x"),
        ("save", "io.BytesIO(), x"),
    )
)

# These ask for the tensor's own method, with arguments that it does not take.
NUMPY_REFUSED = tuple(
    Case(f"numpy.{name}", "always", f"numpy.{name}(x)", "import numpy", refused="any")
    for name in ("max", "mean", "std", "sum")
)

WAITS = (*BUILTIN, *OTHERWISE, *LOGGED, *LIBRARIES, *MATH, *NUMPY, *NUMPY_REFUSED)

HARMLESS = innocent(
    (
        ("len", "len(x)"),
        ("id", "id(x)"),
        ("hash", "hash(x)"),
        ("type", "type(x)"),
        ("isinstance", "isinstance(x, float)"),
        ("issubclass", "issubclass(type(x), torch.Tensor)"),
        ("callable", "callable(x)"),
        ("getattr", "getattr(x, 'shape')"),
        ("hasattr", "hasattr(x, 'shape')"),
        ("setattr", "setattr(x, 'tag', 1)"),
        ("iter", "iter(x)"),
        ("next", "next(iter(x))"),
        ("list", "list(x)"),
        ("tuple", "tuple(x)"),
        ("dict", "dict([(1, s)])"),
        ("set", "set([s, x])"),
        ("frozenset", "frozenset([s, x])"),
        ("zip", "list(zip(x, x))"),
        ("enumerate", "list(enumerate(x))"),
        ("reversed", "list(reversed(x))"),
        ("map", "list(map(torch.exp, x))"),
        ("sum", "sum([s, s])"),
        ("abs", "abs(s)"),
        ("pow", "pow(s, 2)"),
        ("vars", "vars(x)"),
        ("math.prod", "math.prod([s, half])"),
        ("copy.copy", "copy.copy(x)"),
        ("copy.deepcopy", "copy.deepcopy(x)"),
        ("functools.partial", "functools.partial(print, x)"),
        *((f"operator.{name}", f"operator.{name}(s, half)") for name in ("gt", "lt", "eq", "add", "mul")),
        ("operator.itemgetter", "operator.itemgetter(0)(x)"),
        ("operator.attrgetter", "operator.attrgetter('shape')(x)"),
        ("collections.deque", "collections.deque([s], maxlen=1)"),
        ("collections.Counter", "collections.Counter([s])"),
        ("collections.OrderedDict", "collections.OrderedDict(a=s)"),
        ("itertools.chain", "list(itertools.chain(x, x))"),
        ("itertools.cycle", "next(itertools.cycle(x))"),
        ("weakref.ref", "weakref.ref(x)"),
        # The same without what makes them compare.
        ("max", "max([s, half], key=id)"),
        ("sorted", "sorted([s, half], key=id)"),
        ("dict key", "{s: 1}[s]"),
        ("is", "x is None"),
        ("==", "s == s"),
    )
) + innocent(
    (
        ("numpy.shape", "numpy.shape(x)"),
        ("numpy.ndim", "numpy.ndim(x)"),
        ("numpy.iterable", "numpy.iterable(x)"),
        ("numpy.size", "numpy.size(x)"),
        ("numpy.isscalar", "numpy.isscalar(x)"),
        ("numpy.real", "numpy.real(x)"),
        ("numpy.squeeze", "numpy.squeeze(x)"),
        ("numpy.swapaxes", "numpy.swapaxes(x, 0, 1)"),
        *(
            (f"numpy.{name}", f"numpy.{name}(x)")
            for name in ("diag_indices_from", "tril_indices_from", "triu_indices_from")
        ),
        ("numpy.printoptions", "numpy.printoptions()"),
        ("numpy.dtype", "numpy.dtype('float32')"),
        ("numpy.finfo", "numpy.finfo('float32')"),
        ("numpy.iinfo", "numpy.iinfo('int32')"),
        ("numpy.errstate", "numpy.errstate()"),
        ("numpy.set_printoptions", "numpy.set_printoptions()"),
    ),
    setup="import numpy",
)

# Refused with a TypeError, and nothing is read.
REFUSED = tuple(
    Case(op, "", code, refused="any")
    for op, code in (
        ("round", "round(s)"),
        ("divmod", "divmod(s, 2)"),
        ("math.trunc", "math.trunc(s)"),
        ("json.dumps", "json.dumps(s)"),
        ("json.dump", "json.dump(s, io.StringIO())"),
    )
)
REFUSED_TOO = (Case("tqdm.tqdm.write", "", "tqdm.tqdm.write(s)", "import tqdm", refused="any"),)

INNOCENT = (*HARMLESS, *REFUSED, *REFUSED_TOO)
