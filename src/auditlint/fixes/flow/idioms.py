"""What code around a read is known to do, by name: what only computes, what stores, what reports, what is fresh."""

from __future__ import annotations

import cmath
import math
import operator
import statistics

# Functions of Python that make a value of values and do nothing else.
PURE_BUILTINS = frozenset(
    [
        "abs", "all", "any", "bool", "bytes", "complex", "dict", "divmod", "enumerate", "float", "format",
        "frozenset", "hash", "int", "len", "list", "max", "min", "pow", "repr", "reversed", "round", "set", "sorted",
        "str", "sum", "tuple", "zip",
    ]
)  # fmt: skip
# Modules whose functions do so, but for those that write files or draw numbers.
PURE_MODULES = frozenset(["math", "cmath", "statistics", "operator", "np", "numpy"])
# Modules by the names that code has for them.
MODULES = {name: name for name in PURE_MODULES | {"torch", "json"}} | {"np": "numpy", "F": "torch.nn.functional"}
# What else may be called by the name of a module of Python's own: `statistics.append` is none of its functions.
OWN_FUNCTIONS = {module.__name__: frozenset(dir(module)) for module in (math, cmath, statistics, operator)}
OWN_FUNCTIONS["json"] = frozenset(["dumps"])
IMPURE = frozenset(
    [
        "save", "savez", "savez_compressed", "savetxt", "random", "seed", "tofile", "load",
    ]
)  # fmt: skip

# Methods of numbers, strings, lists, arrays and host tensors that change nothing (`sort` changes a list).
PURE_METHODS = frozenset(
    [
        "abs", "all", "any", "argmax", "argmin", "argsort", "as_integer_ratio", "astype", "bit_length", "bool",
        "byte", "capitalize", "ceil", "clamp", "clip", "clone", "contiguous", "copy", "count", "cpu", "cumsum",
        "data", "detach", "dot", "double", "encode", "exp", "expand", "flatten", "float", "floor", "format", "half",
        "hex", "index", "int", "is_integer", "item", "items", "join", "keys", "lower", "long", "log", "log10",
        "log2", "lstrip", "max", "mean", "median", "min", "mode", "norm", "numel", "numpy", "permute", "prod",
        "ravel", "replace", "reshape", "round", "rstrip", "size", "softmax", "split", "sqrt", "squeeze",
        "std", "strip", "sum", "title", "tobytes", "tolist", "topk", "transpose", "unsqueeze", "upper",
        "values", "var", "view",
    ]
)  # fmt: skip

# Those of arrays and host tensors whose arguments are sizes or positions.
SHAPED = frozenset(["expand", "flatten", "permute", "reshape", "squeeze", "transpose", "unsqueeze", "view"])

# Methods that put their arguments into a container. `extend` and `update` iterate over theirs, `add` hashes it.
STORES = frozenset(
    [
        "__setitem__", "append", "appendleft", "extend", "extendleft", "insert", "setdefault", "update",
    ]
)  # fmt: skip
# Those of them whose first argument is a key or a position.
KEYED = frozenset(["__setitem__", "insert", "setdefault"])
ITERATES = frozenset(
    [
        "extend", "extendleft", "update",
    ]
)  # fmt: skip
# What else may be done to a container in a hook without reading the values in it.
KEEPS = STORES | frozenset(
    [
        "add", "clear", "keys", "pop", "popleft", "popitem", "remove", "rotate",
    ]
)  # fmt: skip

REPORTS = frozenset(
    ["print", "warnings.warn", "sys.stdout.write", "sys.stderr.write", "tqdm.write", "click.echo", "pprint"]
)
LOG_METHODS = frozenset(
    [
        "debug", "info", "warning", "warn", "error", "critical", "exception", "log", "print",
    ]
)  # fmt: skip
SCALAR_WRITERS = frozenset(
    [
        "add_scalar", "add_scalars", "add_histogram", "add_text",
    ]
)  # fmt: skip
STEP_WRITERS = frozenset(
    [
        "log", "log_metric", "log_metrics", "log_dict",
    ]
)  # fmt: skip
EXPORTS = frozenset(
    [
        "torch.save",
        "json.dump",
        "pickle.dump",
        "np.save",
        "numpy.save",
        "np.savez",
        "numpy.savez",
        "np.savetxt",
        "joblib.dump",
    ]
)
# Words in the names of functions that write what they are given to files: `save_file`, `dump_rows_to_json`.
WRITERS = frozenset(["save", "dump", "export", "write"])
FILES = frozenset(["csv", "disk", "file", "files", "json", "jsonl", "npy", "npz", "parquet", "pickle", "safetensors"])

# Methods and functions of torch whose result shares no memory with their operands (aten declares no alias).
FRESH = frozenset(
    [
        "abs", "acos", "add", "addmm", "all", "allclose", "amax", "amin", "aminmax", "any", "argmax", "argmin",
        "argsort", "asin", "atan", "bincount", "bmm", "cat", "ceil", "clamp", "clip", "clone", "cos",
        "cosine_similarity", "count_nonzero", "cross", "cumprod", "cumsum", "det", "dist", "div", "dot", "eq", "erf",
        "exp", "floor", "fmod", "ge", "gt", "histc", "isfinite", "isinf", "isnan", "kthvalue", "le", "lerp", "log",
        "log10", "log1p", "log2", "log_softmax", "logical_and", "logical_not", "logical_or", "logsumexp", "lt",
        "matmul", "max", "maximum", "mean", "median", "min", "minimum", "mm", "mode", "mse_loss", "mul", "mv",
        "nanmean", "nansum", "ne", "neg", "norm", "numel", "outer", "pow", "prod", "quantile", "reciprocal", "relu",
        "remainder", "round", "rsqrt", "sigmoid", "sign", "sin", "softmax", "softplus", "sort", "sqrt", "square",
        "stack", "std", "std_mean", "sub", "sum", "tan", "tanh", "topk", "trace", "tril", "triu", "trunc", "var",
        "var_mean", "vector_norm", "where",
    ]
)  # fmt: skip
# Reductions that give one number when they are called without arguments.
REDUCTIONS = frozenset(
    [
        "all", "amax", "amin", "any", "argmax", "argmin", "count_nonzero", "max", "mean", "median", "min", "nanmean",
        "nansum", "norm", "prod", "std", "sum", "trace", "var",
    ]
)  # fmt: skip
# Of the fresh ones, those whose result is a floating-point number whatever they are given (torch raises for integers
# where it is not): float() of it is what `.item()` gives.
FLOATING = frozenset(
    [
        "norm", "vector_norm", "mean", "std", "var", "softmax", "log_softmax", "logsumexp", "sigmoid", "tanh", "exp",
        "log", "sqrt", "rsqrt", "cosine_similarity", "quantile", "nanmean", "erf", "log1p", "log2", "log10",
        "mse_loss",
    ]
)  # fmt: skip
# ... and whose result is an integer (bool) whatever they are given.
INTEGRAL = frozenset(
    [
        "argmax", "argmin", "count_nonzero", "argsort", "bincount",
    ]
)  # fmt: skip
BOOLEAN = frozenset(
    [
        "isnan", "isinf", "isfinite", "eq", "ne", "lt", "le", "gt", "ge", "logical_not", "logical_and", "logical_or",
    ]
)  # fmt: skip
# ... and whose result is one where the operand is: those of a mask of bytes are bytes.
QUANTIFIERS = frozenset(["all", "any"])
# Whose functions by the names in FRESH are torch's.
TENSOR_MODULES = frozenset(["torch", "F", "torch.linalg", "torch.nn.functional", "torch.special"])

# Functions of torch that make host tensors of host tensors and numbers.
PURE_TORCH = FRESH | frozenset(
    [
        "as_tensor", "chunk", "flatten", "from_numpy", "split", "squeeze", "stack", "tensor", "transpose", "unbind",
        "unsqueeze",
    ]
)  # fmt: skip

# Methods and attributes of tensors that are numbers, sizes or names on the host.
HOST_METHODS = frozenset(
    [
        "numel", "size", "dim", "nelement", "element_size", "stride", "ndimension", "data_ptr",
    ]
)  # fmt: skip
HOST_ATTRIBUTES = frozenset(
    [
        "shape", "ndim", "dtype", "device", "requires_grad", "is_cuda", "itemsize", "nbytes", "training",
        "in_features", "out_features", "__name__", "__class__", "name",
    ]
)  # fmt: skip
