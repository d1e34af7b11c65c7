"""What `fix-style = "plain"` writes into a file beside the changed hooks: a finaliser in plain torch.

A hook keeps `x.detach()` where it read `x.item()`, or `x.detach().clone()` where it read `x.cpu()`, and one of the two
functions is called after the pass. Both need nothing but torch, and share their manners:

- They look into lists, deques, dicts and tuples at any depth, into instances of dataclasses in them, and into the
  attributes of objects that they are given themselves, unless these are modules. Tuples are made anew where they stand.
- They return what they were given: one container as it is, several as a list; a tensor as its value.
- Calling them again changes nothing and transfers nothing.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal, NamedTuple

Name = Literal["finalize_reads", "finalize_copies"]


class PlainFunction(NamedTuple):
    """A function to be written at the top level of a module: its name, its text, and the modules that it needs."""

    name: str
    source: str
    imports: tuple[str, ...] = ("torch",)


# Joined as bytes and not by dtype: so that nothing is converted and every dtype goes the same way. Each part is cloned
# on the host, where its bytes may lie unaligned. Any tensor whose last dimension is one element can be viewed as bytes.
_READS = '''\
def finalize_reads(*containers):
    """Replace tensors without dimensions in the containers by numbers, with one transfer for each device."""
    found, values = {}, {}

    def visit(value, seen):
        if isinstance(value, torch.Tensor) and value.dim() == 0:
            found.setdefault(value.device, {})[id(value)] = value
            return values.get(id(value), value)
{walk}
    for tensors in found.values():
        parts = [tensor.detach().resolve_conj().resolve_neg().reshape(1) for tensor in tensors.values()]
        data = torch.cat([part.view(torch.uint8) for part in parts]).cpu()
        for key, part, own in zip(tensors, parts, data.split([part.element_size() for part in parts])):
            values[key] = own.clone().view(part.dtype).item()
{end}'''

# What is large is copied by itself: there the bytes are what costs, and joining takes as much memory once more.
_COPIES = '''\
def finalize_copies(*containers):
    """Replace tensors on devices in the containers by host tensors; small ones share a transfer for each device."""
    found, values = {}, {}

    def visit(value, seen):
        if isinstance(value, torch.Tensor) and value.device.type != "cpu":
            found.setdefault(value.device, {})[id(value)] = value.detach()
            return values.get(id(value), value)
{walk}
    for tensors in found.values():
        small = {
            key: tensor.resolve_conj().resolve_neg().unsqueeze(-1)
            for key, tensor in tensors.items()
            if tensor.layout == torch.strided and tensor.numel() * tensor.element_size() < 1 << 20
        }
        values.update((key, tensor.cpu()) for key, tensor in tensors.items() if key not in small)
        if small:
            parts = [tensor.view(torch.uint8).flatten() for tensor in small.values()]
            data = torch.cat(parts).cpu()
            for key, own in zip(small, data.split([len(part) for part in parts])):
                values[key] = own.clone().view(tensors[key].dtype).reshape(tensors[key].shape)
{end}'''

_WALK = """\
        if isinstance(value, tuple):
            items = [visit(item, seen) for item in value]
            if all(new is old for new, old in zip(items, value)):
                return value
            return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
        inside = getattr(value, "__dict__", None) if hasattr(value, "__dataclass_fields__") else value
        if id(value) not in seen and (isinstance(inside, (dict, list)) or hasattr(inside, "appendleft")):
            seen.add(id(value))
            for key, item in list(inside.items() if isinstance(inside, dict) else enumerate(inside)):
                new = visit(item, seen)
                if new is not item:
                    inside[key] = new
        return value

    objects = [one for one in containers if hasattr(one, "__dict__") and not isinstance(one, torch.nn.Module)]
    roots = [*containers, *map(vars, objects)]
    visit(roots, set())
"""

_END = """\
    visit(roots, set())
    return roots[0] if len(containers) == 1 else roots[: len(containers)]
"""

_TEMPLATES: dict[Name, str] = {"finalize_reads": _READS, "finalize_copies": _COPIES}


def plain_function(name: Name, taken: Collection[str] = ()) -> PlainFunction:
    """The function `name`, or `name_2`, `name_3`, ... if that is `taken` in the file that it is written into.

    The text ends with a newline, has four spaces to a level, lines of up to 120 characters, no types, and runs on
    Python 3.8. The name of the module torch is `torch`: a file that calls it otherwise needs the import once more.
    """
    free, number = str(name), 1
    while free in taken:
        number += 1
        free = f"{name}_{number}"
    text = _TEMPLATES[name].replace("{walk}\n", _WALK).replace("{end}", _END)
    return PlainFunction(free, text.replace(f"def {name}(", f"def {free}("))
