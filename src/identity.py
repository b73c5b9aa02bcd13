"""What makes a run what it is: a hash of all the code that decides it, and of nothing else.

That is the network, layer by layer with all settings, and the files that training consists of: src/training.py and
whatever of src/ it imports, however it refers to it. Comments, docstrings, formatting, the wording of errors and
which of these files a function stands in do not count; nor does what keeps, reports or draws a run. A recipe is
recorded beside the hash, value by value, so training does not import src/recipe.py.
"""

import ast
import functools
import hashlib
import inspect
import itertools
import json
from pathlib import Path

import torch
from torch import nn

SOURCE = Path(__file__).parent
FIRST = "training"  # the file that the others are imported from


@functools.cache
def code_sha256(model_class):
    """Return the hash of a network's layers and of the code that trains it. Raises TypeError, see `network`."""
    return hashlib.sha256(json.dumps([network(model_class), _CODE]).encode()).hexdigest()


def network(model_class):
    """Spell out each layer of a network: its name, its class and the settings that are not the default.

    The spelling is complete, because a network built anew from it has to equal the original in every attribute and
    initial weight. Raises TypeError for one that does not, such as a model with a `forward` or weights of its own.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = model_class()
        torch.manual_seed(0)  # layers that are made anew, in the same order, draw the same weights
        spelt = []
        for name, layer in model.named_modules(remove_duplicate=False):
            settings = _settings(layer)
            if not _is_made_by(layer, settings):
                raise TypeError(
                    f"{type(layer).__name__} in {model_class.__name__} is more than a list of torch's layers with "
                    "their own initial weights, which is all that a run's identity sees: build it from nn.Sequential"
                )
            if not isinstance(layer, nn.Sequential):
                spelt.append([name, type(layer).__name__, _without_defaults(layer, settings)])
    return spelt


def _is_made_by(layer, settings):
    """Return whether the settings alone make an equal layer, and whether a list of layers is nothing more."""
    if isinstance(layer, nn.Sequential):
        return _only_lists_layers(type(layer)) and _attributes(layer) == _attributes(nn.Sequential())
    return type(layer).__module__.startswith("torch.nn.") and _equal(layer, type(layer)(**settings))


def _without_defaults(layer, settings):
    defaults = {key: value.default for key, value in inspect.signature(type(layer)).parameters.items()}
    return {key: value for key, value in settings.items() if value != defaults[key]}


def _only_lists_layers(sequential_class):
    for cls in itertools.takewhile(lambda cls: cls is not nn.Sequential, sequential_class.__mro__):
        for name, value in vars(cls).items():
            if name != "__init__" and (callable(value) or not name.startswith("__")):
                return False
    return True


def _settings(layer):
    """Return the arguments that a layer was made with, as far as it remembers them."""
    names = [name for name in inspect.signature(type(layer)).parameters if name not in ("device", "dtype")]
    found = {name: getattr(layer, name) for name in names if hasattr(layer, name)}
    if "bias" in found:
        found["bias"] = found["bias"] is not None and found["bias"] is not False
    return found


def _equal(layer, other):
    pairs = [
        (mine, theirs)
        for kind in ("_parameters", "_buffers")
        for mine, theirs in zip(vars(layer)[kind].values(), vars(other)[kind].values(), strict=True)
        if mine is not None or theirs is not None
    ]
    return _attributes(layer) == _attributes(other) and all(
        torch.equal(mine, theirs) and mine.requires_grad == theirs.requires_grad for mine, theirs in pairs
    )


def _attributes(layer):
    return {name: value for name, value in vars(layer).items() if name not in ("_parameters", "_buffers", "_modules")}


def deciding_code(source=SOURCE):
    """Return what the files of training in the folder `source` define, and the rest of what they execute."""
    waiting, trees = [FIRST, "__init__"], {}
    while waiting:
        file = waiting.pop()
        if file not in trees:
            trees[file] = _Essence().visit(ast.parse((source / f"{file}.py").read_text(encoding="utf-8")))
            waiting += _imported_files(trees[file], source)
    meanings, others, used = {}, [], set().union(*map(_used, trees.values()))
    if hidden := used & {"importlib", "__import__", "exec"}:
        raise ValueError(
            f"{', '.join(hidden)} in {', '.join(trees)} would hide code that decides a run: import it plainly"
        )
    for _, tree in sorted(trees.items()):
        for node in tree.body:
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                named = {bound: text for bound, text in _imports(node).items() if bound.split(".")[0] in used}
            elif not (named := {name: _plain(node) for name in _defines(node)}):
                others.append(_plain(node))
            for name, text in named.items():
                if isinstance(node, (ast.Import, ast.ImportFrom)) and meanings.get(name) == text:
                    continue  # two files may import the same
                if meanings.setdefault(name, text) is not text:
                    raise ValueError(f"{name} has two meanings in {', '.join(trees)}: give one another name")
    return sorted(meanings.items()) + others


def _imported_files(tree, source):
    """Name the files of the folder `source` that a tree imports from. Raises ValueError for a folder."""
    modules = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = f"{SOURCE.name}.{node.module or ''}".rstrip(".") if node.level else node.module
            modules += [module, *(f"{module}.{alias.name}" for alias in node.names)]
    files = [module.split(".")[1] for module in modules if module.startswith(f"{SOURCE.name}.")]
    for file in files:
        if (source / file).is_dir():
            raise ValueError(f"src/{file} is a folder, whose code no run's identity would see: make it src/{file}.py")
    return [file for file in files if (source / f"{file}.py").is_file()]


def _used(tree):
    """Return the names that a tree uses, also those that it takes from another file."""
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    names |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    taken = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and _is_own(node)]
    return names | {alias.name for node in taken for alias in node.names}


def _is_own(node):
    return node.level > 0 or node.module.split(".")[0] == SOURCE.name


def _imports(node):
    """Map each name that an import binds to what it is. One of this project's own needs its meaning said only if new.

    `from src.images import augment` binds a name to its own definition, which counts by itself.
    """
    module = getattr(node, "module", None)
    if any(alias.name == "*" for alias in node.names):
        raise ValueError(f"from {module} import * hides code that decides a run: import each name plainly")
    return {
        alias.asname or alias.name: f"{module} {alias.name}"
        for alias in node.names
        if not (isinstance(node, ast.ImportFrom) and _is_own(node) and alias.asname in (None, alias.name))
    }


def _defines(node):
    """Name what a statement at the top of a file defines; nothing for one that does anything else."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    names = [part for target in targets for part in (target.elts if isinstance(target, ast.Tuple) else [target])]
    return [name.id for name in names] if all(isinstance(name, ast.Name) for name in names) else []


def _plain(tree):
    """Write a syntax tree as nested lists that do not depend on Python's version: what is empty is left out."""
    if isinstance(tree, ast.AST):
        fields = [[name, _plain(value)] for name, value in ast.iter_fields(tree) if value not in (None, [])]
        return [type(tree).__name__, *fields]
    return [_plain(part) for part in tree] if isinstance(tree, list) else repr(tree)


class _Essence(ast.NodeTransformer):
    """Drop docstrings and what an error says."""

    def visit_Expr(self, node):
        return None if isinstance(node.value, ast.Constant) else self.generic_visit(node)

    def visit_Raise(self, node):
        return ast.Raise()


# Now, while the files still hold the code that was imported: a notebook may run for hours while somebody edits them.
_CODE = deciding_code()
