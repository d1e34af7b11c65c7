"""Imports are put where a person puts them."""

from __future__ import annotations

import ast

import pytest

from auditlint.diagnostics import Diagnostic, Fix, Location
from auditlint.fixes.applying.apply import apply
from auditlint.fixes.rewriting.rewriter import Rewriter
from auditlint.source.source_file import parse_source

MODULE = "auditlint.defer"


def imported(source: str, module: str, names: list[str], first_party: tuple[str, ...] = ()) -> str:
    data = source.encode()
    edits = Rewriter(parse_source(data), ast.parse(data), first_party).imports(module, names)
    finding = Diagnostic("AUD101", "", "", "a.py", Location(1, 1), Location(1, 1), fix=Fix("safe", "", edits))
    result = apply([finding], lambda _: data)
    assert result.refused == []
    return result.contents.get("a.py", data).decode()


# What a file holds, and what it holds with `finalize` imported.
EXTENDED = {
    "in order": ("from auditlint.defer import defer\n", "from auditlint.defer import defer, finalize\n"),
    "between": ("from auditlint.defer import a, z  # c\n", "from auditlint.defer import a, finalize, z  # c\n"),
    "first": ("from auditlint.defer import flush\n", "from auditlint.defer import finalize, flush\n"),
    "behind classes": ("from auditlint.defer import AuditLog\n", "from auditlint.defer import AuditLog, finalize\n"),
    "without order": ("from auditlint.defer import z, a\n", "from auditlint.defer import z, a, finalize\n"),
    "renamed": ("from auditlint.defer import defer as d\n", "from auditlint.defer import defer as d, finalize\n"),
    "in parentheses": ("from auditlint.defer import (a, z)\n", "from auditlint.defer import (a, finalize, z)\n"),
    "row by row": (
        "from auditlint.defer import (  # c\n    a,  # d\n    # e\n    z,  # f\n)\n",
        "from auditlint.defer import (  # c\n    a,  # d\n    finalize,\n    # e\n    z,  # f\n)\n",
    ),
    "first row": (
        "from auditlint.defer import (  # c\n    flush,\n)\n",
        "from auditlint.defer import (  # c\n    finalize,\n    flush,\n)\n",
    ),
    "last row": (
        "from auditlint.defer import (\n  a,\n  b as c,  # d\n)\n",
        "from auditlint.defer import (\n  a,\n  b as c,  # d\n  finalize,\n)\n",
    ),
    "last row without a comma": (
        "from auditlint.defer import (\n  a,\n  b  # d\n)\n",
        "from auditlint.defer import (\n  a,\n  b,  # d\n  finalize,\n)\n",
    ),
    "a parenthesis behind the last": (
        "from auditlint.defer import (\n  a,\n  b)\n",
        "from auditlint.defer import (\n  a,\n  b, finalize)\n",
    ),
    "several in a row": (
        "from auditlint.defer import (\n  a, b,\n  y, z,\n)\n",
        "from auditlint.defer import (\n  a, b, finalize,\n  y, z,\n)\n",
    ),
    "commas in front": (
        "from auditlint.defer import ( a\n  , b\n  )\n",
        "from auditlint.defer import ( a\n  , b, finalize\n  )\n",
    ),
    "continued": (
        "from auditlint.defer import \\\n    a, \\\n    z\n",
        "from auditlint.defer import \\\n    a, finalize, \\\n    z\n",
    ),
    "the first of two": (
        "from auditlint.defer import a\nfrom auditlint.defer import b\n",
        "from auditlint.defer import a, finalize\nfrom auditlint.defer import b\n",
    ),
    "there": ("from auditlint.defer import finalize\n", "from auditlint.defer import finalize\n"),
    "there twice": (
        "from auditlint.defer import a\nfrom auditlint.defer import finalize\n",
        "from auditlint.defer import a\nfrom auditlint.defer import finalize\n",
    ),
}


@pytest.mark.parametrize("case", EXTENDED)
def test_a_name_joins_the_import_that_is_there(case: str) -> None:
    source, expected = EXTENDED[case]
    assert imported(source, MODULE, ["finalize"]) == expected


# The same for `from auditlint.defer import defer`, which nothing imports from yet.
PLACED = {
    "empty": ("", "from auditlint.defer import defer\n"),
    "docstring": ('"""Doc."""\nx = 1\n', '"""Doc."""\n\nfrom auditlint.defer import defer\n\nx = 1\n'),
    "docstring alone": ('"""Doc."""', '"""Doc."""\n\nfrom auditlint.defer import defer'),
    "header": (
        "#!/usr/bin/env python\n# coding: utf-8\nx = 1\n",
        "#!/usr/bin/env python\n# coding: utf-8\nfrom auditlint.defer import defer\n\nx = 1\n",
    ),
    "comment": ("# head\n\n# x\nx = 1\n", "# head\n\nfrom auditlint.defer import defer\n\n# x\nx = 1\n"),
    "future": (
        "from __future__ import annotations\nx = 1\n",
        "from __future__ import annotations\n\nfrom auditlint.defer import defer\n\nx = 1\n",
    ),
    "standard above": (
        "import os\nimport sys  # c\n\nx = 1\n",
        "import os\nimport sys  # c\n\nfrom auditlint.defer import defer\n\nx = 1\n",
    ),
    "relative below": (
        "from .a import b\n\nx = 1\n",
        "from auditlint.defer import defer\n\nfrom .a import b\n\nx = 1\n",
    ),
    "plain imports first": (
        "import os\n\nimport torch\nfrom torch import nn\n\nfrom .a import b\n",
        "import os\n\nimport torch\nfrom auditlint.defer import defer\nfrom torch import nn\n\nfrom .a import b\n",
    ),
    "by module": (
        "from abc_ import a\nimport numpy as np\nfrom torch import nn\n",
        "from abc_ import a\nfrom auditlint.defer import defer\nimport numpy as np\nfrom torch import nn\n",
    ),
    "without order": (
        "import torch\nimport numpy\nfrom accelerate import a\n",
        "import torch\nimport numpy\nfrom accelerate import a\nfrom auditlint.defer import defer\n",
    ),
    "first of its section": (
        "import os\n\n# third parties\nfrom torch import nn\n",
        "import os\n\n# third parties\nfrom auditlint.defer import defer\nfrom torch import nn\n",
    ),
    "first party apart": (
        "import torch\n\nfrom mine import b\n\nx = 1\n",
        "import torch\nfrom auditlint.defer import defer\n\nfrom mine import b\n\nx = 1\n",
    ),
    "above first party": ("from mine import b\n", "from auditlint.defer import defer\n\nfrom mine import b\n"),
    "behind the environment": (
        "import os\n\nos.environ['A'] = '1'\nimport torch\n\nx = 1\n",
        "import os\n\nos.environ['A'] = '1'\nimport torch\nfrom auditlint.defer import defer\n\nx = 1\n",
    ),
    "never in a condition": (
        "import torch\nif TYPE_CHECKING:\n    from auditlint.defer import defer\n",
        "import torch\nfrom auditlint.defer import defer\nif TYPE_CHECKING:\n    from auditlint.defer import defer\n",
    ),
    "never in a try": (
        "try:\n    import a\nexcept ImportError:\n    a = None\n",
        "from auditlint.defer import defer\n\ntry:\n    import a\nexcept ImportError:\n    a = None\n",
    ),
    "one row": (
        "import os; import torch; x = 1\n",
        "import os; import torch; x = 1\nfrom auditlint.defer import defer\n",
    ),
    "several rows": (
        "from torch import (\n    nn,\n)  # c\nx = 1\n",
        "from auditlint.defer import defer\nfrom torch import (\n    nn,\n)  # c\nx = 1\n",
    ),
    "a star": (
        "from auditlint.defer import *\n",
        "from auditlint.defer import *\nfrom auditlint.defer import defer\n",
    ),
    "imports below definitions": (
        "import torch\n\n\ndef f(): pass\n\n\nimport abc_\n",
        "import torch\nfrom auditlint.defer import defer\n\n\ndef f(): pass\n\n\nimport abc_\n",
    ),
    "of the module": (
        "import auditlint.defer as d\n",
        "import auditlint.defer as d\nfrom auditlint.defer import defer\n",
    ),
}


@pytest.mark.parametrize("case", PLACED)
def test_a_new_import_joins_its_section(case: str) -> None:
    source, expected = PLACED[case]
    assert imported(source, MODULE, ["defer"], ("mine",)) == expected
    assert imported(expected, MODULE, ["defer"], ("mine",)) == expected


def test_modules_are_imported_whole() -> None:
    assert imported("import os\n", "functools", []) == "import functools\nimport os\n"
    assert imported("import functools\n", "functools", []) == "import functools\n"
    assert imported("import functools as f\n", "functools", []) == "import functools as f\nimport functools\n"


def test_names_come_in_order_and_once() -> None:
    wanted = ["finalize", "AuditLog", "defer", "finalize"]
    assert imported("", MODULE, wanted) == "from auditlint.defer import AuditLog, defer, finalize\n"
    extended = imported("from auditlint.defer import b, g\n", MODULE, wanted)
    assert extended == "from auditlint.defer import AuditLog, b, defer, finalize, g\n"


def test_a_name_can_be_imported_as_another() -> None:
    assert imported("", MODULE, ["defer as later"]) == "from auditlint.defer import defer as later\n"
    source = "from auditlint.defer import defer as later\n"
    assert imported(source, MODULE, ["defer as later"]) == source
    assert imported(source, MODULE, ["defer"]) == "from auditlint.defer import defer as later, defer\n"
