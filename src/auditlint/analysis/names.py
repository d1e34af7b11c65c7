"""What a name at module level stands for, what a class inherits, and what an attribute of a project object is."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from auditlint.analysis import calls, declarations, expressions, stores, subclasses
from auditlint.analysis import interpreter as run
from auditlint.analysis.frame import Frame
from auditlint.analysis.session import Session, Summary
from auditlint.analysis.values import (
    NONE,
    STR,
    UNKNOWN,
    Bound,
    ClassVal,
    Const,
    Env,
    Ext,
    Func,
    Lazy,
    ModuleRef,
    Obj,
    Scalar,
    Union,
    Value,
    alternatives,
    join_all,
)
from auditlint.project.modules import ClassInfo, FunctionInfo, Module, bound_names

MAX_BASES = 40
# Statements that are run for the value of a name that they bind.
BINDING = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Assign, ast.AnnAssign)
# What a module-level name means that starts as None and is imported on demand.
OPTIONAL = {"torch": "torch", "np": "numpy", "numpy": "numpy"}


def module_value(session: Session, module: Module, name: str) -> Value | None:
    """What a module's global name is; None when the module does not bind it."""
    key = (module, name)
    held = session.module_names.get(key)
    if held is not None:
        return held
    statements = module.names.get(name)
    if statements is None:
        for star in module.stars:
            source = imported_module(session, module, star)
            if isinstance(source, Module) and source is not module:
                value = module_value(session, source, name)
                if value is not None:
                    return value
        return None
    session.module_names[key] = UNKNOWN
    values = [_statement_value(session, module, statement, name) for statement in statements[-4:]]
    value = join_all(values)
    if name in OPTIONAL and value in (NONE, UNKNOWN):
        # `torch = None` until somebody imports it.
        value = Ext(OPTIONAL[name])
    session.module_names[key] = value
    return value


def deferred_import(session: Session, module: Module, name: str) -> Value | None:
    """A name that an import of another file of the project binds, looked up when needed; None for other names."""
    key = (module, name)
    if key in session.module_names:
        return None
    held = session.imports.get(key)
    if held is None:
        statements = module.names.get(name)
        if statements is None or not all(isinstance(statement, ast.ImportFrom) for statement in statements):
            return None
        held = session.imports[key] = Lazy(lambda: module_value(session, module, name) or UNKNOWN)
    return held


def _statement_value(session: Session, module: Module, statement: ast.stmt, name: str) -> Value:
    if isinstance(statement, (ast.Import, ast.ImportFrom)):
        return imported(session, module, statement, name)
    frame = module_frame(session, module)
    if isinstance(statement, BINDING):
        run.execute_block(frame, [statement])
    value = frame.env.now.get(name, UNKNOWN)
    # A flag or number at module level is a setting: its literal is not what it is during the run.
    if isinstance(value, Const) and value.type in ("bool", "int"):
        return Scalar(value.type)
    return value


def module_frame(session: Session, module: Module) -> Frame:
    """A frame in which one module-level statement can be run for its value."""
    info = module.body()
    return Frame(session, info, Env(None), Summary(info), lazy=True)


def imported(session: Session, module: Module, statement: ast.Import | ast.ImportFrom, name: str) -> Value:
    """What an import statement binds to `name`."""
    project = session.project
    if isinstance(statement, ast.Import):
        for alias in statement.names:
            bound = alias.asname or alias.name.partition(".")[0]
            if bound == name:
                return named_module(session, alias.name if alias.asname else bound, module)
        return UNKNOWN
    source = imported_module(session, module, statement)
    for alias in statement.names:
        if (alias.asname or alias.name) == name:
            if isinstance(source, Module):
                value = module_value(session, source, alias.name)
                if value is not None:
                    return value
                return submodule(session, source, alias.name) or UNKNOWN
            if source:
                found = project.find(f"{source}.{alias.name}", module.filename)
                if found is not None:
                    return _loaded(session, found)
                return Ext(f"{source}.{alias.name}")
    return UNKNOWN


def imported_module(session: Session, module: Module, statement: ast.ImportFrom) -> Module | str:
    """The module that `from X import` names: one of the project, or else its dotted name ("" when nowhere)."""
    dotted = statement.module or ""
    if statement.level:
        parts = module.package.split(".") if module.package else []
        kept = parts[: len(parts) - (statement.level - 1)] if statement.level > 1 else parts
        above = module.filename.split("/")[: -statement.level]
        path = "/".join([*above, *dotted.split(".")] if dotted else above)
        for candidate in (f"{path}/__init__.py", f"{path}.py"):
            if candidate.lstrip("/") in session.project.known:
                return session.project.module(candidate.lstrip("/")) or ""
        return ".".join([*kept, dotted]) if dotted else ".".join(kept)
    found = session.project.find(dotted, module.filename)
    if found is not None:
        return session.project.module(found) or ""
    return dotted


def named_module(session: Session, dotted: str, importer: Module) -> Value:
    found = session.project.find(dotted, importer.filename)
    return Ext(dotted) if found is None else _loaded(session, found)


def _loaded(session: Session, filename: str) -> Value:
    module = session.project.module(filename)
    return UNKNOWN if module is None else ModuleRef(module)


def submodule(session: Session, module: Module, name: str) -> Value | None:
    """The submodule of a package, whether or not the package imports it."""
    if not module.filename.endswith("__init__.py"):
        return None
    folder = module.filename[: -len("__init__.py")]
    for candidate in (f"{folder}{name}/__init__.py", f"{folder}{name}.py"):
        if candidate in session.project.known:
            return _loaded(session, candidate)
    return None


def mro(session: Session, cls: ClassInfo) -> tuple[ClassInfo, ...]:
    """The project's classes that `cls` inherits from, itself first; those outside are in `outside_bases`."""
    held = session.mros.get(cls)
    if held is not None:
        return held
    session.mros[cls] = (cls,)
    line: list[ClassInfo] = [cls]
    outside: list[str] = []
    env = session.class_envs.get(cls)
    frame = module_frame(session, cls.module)
    frame.env = Env(env)
    for base in cls.node.bases[:MAX_BASES]:
        expression = base.value if isinstance(base, ast.Subscript) else base
        for item in alternatives(expressions.evaluate(frame, expression)):
            if isinstance(item, ClassVal):
                inherited = mro(session, item.info)
                line = [known for known in line if known not in inherited] + list(inherited)
                outside.extend(session.outside.get(item.info, ()))
            elif isinstance(item, Ext):
                outside.append(item.path)
    session.outside[cls] = tuple(dict.fromkeys(outside))
    session.mros[cls] = tuple(line)
    return session.mros[cls]


def outside_bases(session: Session, cls: ClassInfo) -> tuple[str, ...]:
    """Dotted names of the classes outside the project that `cls` inherits from."""
    mro(session, cls)
    return session.outside[cls]


def is_nn_module(session: Session, cls: ClassInfo) -> bool:
    return any(
        path.rpartition(".")[2].endswith("Module") or path.startswith("torch.nn.") or path.endswith("PreTrainedModel")
        for path in outside_bases(session, cls)
    )


def lookup(session: Session, line: tuple[ClassInfo, ...], name: str) -> tuple[ClassInfo, list[ast.stmt]] | None:
    """The first class in an MRO whose body binds `name`, and the binding statements."""
    for cls in line:
        statements = cls.members.get(name)
        if statements:
            return cls, statements
    return None


def class_member(session: Session, owner: ClassInfo, statements: list[ast.stmt], receiver: Value) -> Value:
    """A member found in a class body, bound to the object or class it was asked of."""
    values = []
    for statement in statements[-3:]:
        if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
            method = owner.module.function(statement, f"{owner.qualname}.{statement.name}", owner, owner.parent)
            if "setter" in method.flags:
                continue
            values.append(bound_method(session, method, receiver))
        elif isinstance(statement, ast.ClassDef):
            values.append(ClassVal(owner.module.class_(statement, f"{owner.qualname}.{statement.name}", owner.parent)))
        else:
            frame = module_frame(session, owner.module)
            frame.env = Env(session.class_envs.get(owner))
            run.execute_block(frame, [statement])
            for name in bound_names(statement):
                value = changeable(frame.env.now.get(name)) or UNKNOWN
                if isinstance(statement, ast.AnnAssign) and (value.kind in ("extinstance", "unknown") or value == NONE):
                    # `field(default_factory=...)`, or None until somebody knows better: the annotation tells.
                    value = declarations.value_of(session, owner.module, statement.annotation)
                if isinstance(value, Func) and not isinstance(receiver, ClassVal):
                    value = Bound(value, receiver)
                values.append(value)
                break
    return join_all(values) if values else UNKNOWN


def bound_method(session: Session, method: FunctionInfo, receiver: Value) -> Value:
    """A method as an attribute access gives it; a property is called."""
    function: Value = Func(method, session.class_envs.get(method.cls) if method.cls is not None else None)
    node = method.node
    if not method.flags and isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.decorator_list:
        function = calls.decorated(module_frame(session, method.module), node, function)
    if "static" in method.flags:
        return function
    if "class" in method.flags:
        cls = ClassVal(receiver.cls) if isinstance(receiver, Obj) else receiver
        return Bound(function, cls)
    if isinstance(receiver, ClassVal):
        return function
    return Bound(function, receiver)


def self_object(session: Session, cls: ClassInfo) -> Obj:
    """The instance that stands for `self` where nobody was seen making one."""
    held = session.selves.get(cls)
    if held is None:
        held = session.selves[cls] = Obj(cls)
    return held


def instance_attribute(session: Session, obj: Obj, name: str) -> Value | None:
    """What the methods of the object's class store under `self.name`; None when none does."""
    for cls in mro(session, obj.cls):
        for method, statement in (*cls.stores.get(name, ()), *cls.stores.get("", ())):
            stores.run_store(session, obj, method, statement, name)
    return changeable(obj.attrs.get(name))


def changeable(value: Value | None) -> Value | None:
    """A flag or counter in an attribute or at module level: its literal is not what it is during the run."""
    if value is None:
        return None
    items = value.items if isinstance(value, Union) else (value,)
    if not any(isinstance(item, Const) and item.type in ("bool", "int") for item in items):
        return value
    return join_all(
        Scalar(item.type) if isinstance(item, Const) and item.type in ("bool", "int") else item for item in items
    )


def meant_for_heirs(session: Session, cls: ClassInfo) -> bool:
    """Whether a class expects subclasses to fill it in."""
    if any(word in cls.name for word in ("Mixin", "Base", "Abstract")):
        return True
    bases = outside_bases(session, cls)
    return any(base.rpartition(".")[2] in ("ABC", "Protocol") for base in bases) or any(
        "abstract" in method.flags for method in cls.methods()
    )


def overrides(session: Session, cls: ClassInfo, name: str) -> Iterator[Value]:
    """The methods of this name in the project's subclasses of `cls`, each bound to an instance of its class."""
    for heir in subclasses.of(session, cls, name):
        method = heir.method(name)
        if method is not None:
            yield bound_method(session, method, self_object(session, heir))


def builtin(name: str) -> Value:
    if name in ("__name__", "__file__", "__doc__"):
        return STR
    return Ext(f"builtins.{name}")
