"""What Python, its library and well-known loggers do with a tensor that they are given, as data.

Each entry says which of torch's methods of a tensor is reached, so that the reason is the one in `syncs.py`.

`reads` says where the tensor must be: "first" argument; "any" argument; "items" (an argument is an iterable of tensors
or a tensor itself); "any|items" (several tensors, or one iterable of them). `unless` is a keyword that makes it
harmless (`max(params, key=...)`), `only_with` are keywords of which one is needed.
"""

from __future__ import annotations

from typing import NamedTuple


class HostCall(NamedTuple):
    """A callable outside torch that reads the values of a tensor."""

    kind: str
    reads: str
    reaches: str
    unless: str = ""
    only_with: tuple[str, ...] = ()


FLOAT = "Tensor.__float__"
INDEX = "Tensor.__index__"
BOOL = "Tensor.__bool__"
TEXT = "Tensor.__repr__"
ARRAY = "Tensor.__array__"
PICKLE = "Tensor.__reduce_ex__"

HOST_CALLS: dict[str, HostCall] = {
    "float": HostCall("cast", "first", FLOAT),
    "int": HostCall("cast", "first", "Tensor.__int__"),
    "bool": HostCall("cast", "first", BOOL),
    "complex": HostCall("cast", "first", "Tensor.__complex__"),
    "chr": HostCall("cast", "first", INDEX),
    "hex": HostCall("cast", "first", INDEX),
    "oct": HostCall("cast", "first", INDEX),
    "bin": HostCall("cast", "first", INDEX),
    "operator.index": HostCall("cast", "first", INDEX),
    "struct.pack": HostCall("cast", "any", FLOAT),
    "random.choices": HostCall("cast", "any", FLOAT),
    "operator.truth": HostCall("truth", "first", BOOL),
    "operator.not_": HostCall("truth", "first", BOOL),
    "range": HostCall("index", "any", INDEX),
    "itertools.islice": HostCall("index", "any", INDEX),
    "list.index": HostCall("builtin", "any|items", BOOL),
    "list.count": HostCall("builtin", "any|items", BOOL),
    "list.remove": HostCall("builtin", "any|items", BOOL),
    "list.sort": HostCall("builtin", "items", BOOL, unless="key"),
    "min": HostCall("builtin", "any|items", BOOL, unless="key"),
    "max": HostCall("builtin", "any|items", BOOL, unless="key"),
    "sorted": HostCall("builtin", "items", BOOL, unless="key"),
    "any": HostCall("builtin", "items", BOOL),
    "all": HostCall("builtin", "items", BOOL),
    "heapq.nlargest": HostCall("builtin", "items", BOOL, unless="key"),
    "heapq.nsmallest": HostCall("builtin", "items", BOOL, unless="key"),
    "heapq.heappush": HostCall("builtin", "any", BOOL),
    "bisect.bisect": HostCall("builtin", "any", BOOL, unless="key"),
    "bisect.bisect_left": HostCall("builtin", "any", BOOL, unless="key"),
    "bisect.bisect_right": HostCall("builtin", "any", BOOL, unless="key"),
    "bisect.insort": HostCall("builtin", "any", BOOL, unless="key"),
    "print": HostCall("format", "any", TEXT),
    "str": HostCall("format", "first", TEXT),
    "repr": HostCall("format", "first", TEXT),
    "ascii": HostCall("format", "first", TEXT),
    "format": HostCall("format", "first", "Tensor.__format__"),
    "str.format": HostCall("format", "any", "Tensor.__format__"),
    "pprint.pprint": HostCall("format", "any", TEXT),
    "pprint.pformat": HostCall("format", "any", TEXT),
    "warnings.warn": HostCall("format", "first", TEXT),
    "rich.print": HostCall("format", "any", TEXT),
    "logging.debug": HostCall("format", "any", TEXT),
    "logging.info": HostCall("format", "any", TEXT),
    "logging.warning": HostCall("format", "any", TEXT),
    "logging.error": HostCall("format", "any", TEXT),
    "logging.critical": HostCall("format", "any", TEXT),
    "logging.exception": HostCall("format", "any", TEXT),
    "logging.log": HostCall("format", "any", TEXT),
    "wandb.log": HostCall("format", "any", "Tensor.item"),
    "mlflow.log_metric": HostCall("format", "any", FLOAT),
    "mlflow.log_metrics": HostCall("format", "any", FLOAT),
    # A tensor is no JSON value: json raises, unless it is told how to encode one.
    "json.dump": HostCall("serialise", "any", FLOAT, only_with=("default", "cls")),
    "json.dumps": HostCall("serialise", "any", FLOAT, only_with=("default", "cls")),
    "pickle.dump": HostCall("serialise", "first", PICKLE),
    "pickle.dumps": HostCall("serialise", "first", PICKLE),
    "cloudpickle.dump": HostCall("serialise", "first", PICKLE),
    "cloudpickle.dumps": HostCall("serialise", "first", PICKLE),
    "dill.dump": HostCall("serialise", "first", PICKLE),
    "dill.dumps": HostCall("serialise", "first", PICKLE),
    "joblib.dump": HostCall("serialise", "first", PICKLE),
    # src: safetensors.torch brings each tensor to the host before it takes the bytes.
    "safetensors.torch.save": HostCall("serialise", "any", "Tensor.cpu"),
    "safetensors.torch.save_file": HostCall("serialise", "any", "Tensor.cpu"),
}

# Every function of these modules that is not in HOST_HARMLESS.
HOST_MODULES: dict[str, HostCall] = {
    "math": HostCall("cast", "any", FLOAT),
    "cmath": HostCall("cast", "any", "Tensor.__complex__"),
    "numpy": HostCall("numpy", "any|items", ARRAY),
}

# Methods of any object that is no tensor, module or other known thing, by the name alone.
HOST_METHODS: dict[str, HostCall] = {
    **dict.fromkeys(
        ("debug", "info", "warning", "warn", "error", "critical", "exception"), HostCall("format", "any", TEXT)
    ),
    # torch.utils.tensorboard: make_np is x.detach().cpu().numpy().
    **dict.fromkeys(
        (
            "add_scalar",
            "add_scalars",
            "add_histogram",
            "add_image",
            "add_images",
            "add_embedding",
            "add_pr_curve",
            "add_figure",
        ),
        HostCall("format", "any", "Tensor.cpu"),
    ),
    **dict.fromkeys(("log_metric", "log_metrics", "log_scalar"), HostCall("format", "any", FLOAT)),
    "set_postfix": HostCall("format", "any", TEXT),
}

# These take a tensor and never read its values. round, divmod and math.trunc raise TypeError on a tensor, and
# json.dumps does without `default`. math.prod multiplies what it is given. What is listed of numpy asks a tensor for
# its shape, or for the tensor's own method of that name (counted with tensors without values, numpy 2.4).
HARMLESS = (
    "len id hash type isinstance issubclass callable getattr hasattr setattr iter next list tuple dict set frozenset "
    "zip enumerate reversed map sum abs pow vars copy.copy copy.deepcopy functools.partial operator.gt operator.lt "
    "operator.eq operator.add operator.mul operator.itemgetter operator.attrgetter collections.deque "
    "collections.Counter collections.OrderedDict itertools.chain itertools.cycle weakref.ref math.trunc math.prod "
    "numpy.shape numpy.ndim numpy.size numpy.iterable numpy.isscalar numpy.real numpy.squeeze numpy.swapaxes "
    "numpy.diag_indices_from numpy.tril_indices_from numpy.triu_indices_from numpy.dtype numpy.finfo numpy.iinfo "
    "numpy.errstate numpy.printoptions numpy.set_printoptions round divmod"
)
HOST_HARMLESS = frozenset(HARMLESS.split())

# These hand a tensor on to its own method of that name, or give it back: the result is a tensor again.
HOST_KEEPING = frozenset({"numpy.squeeze", "numpy.real", "numpy.swapaxes"})
