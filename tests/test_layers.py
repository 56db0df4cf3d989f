"""The rule book of pig/: who may import whom, and which library comes in where."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "pig"
MODULES = {".".join(p.relative_to(PACKAGE).with_suffix("").parts): p for p in sorted(PACKAGE.rglob("*.py"))}

# Rules 1 to 6: the rooms that a room may import, besides itself.
MAY_IMPORT = {
    "core": set(),
    "diffusion": set(),
    "data": {"core"},
    "training": {"core"},
    "models": {"diffusion", "training", "data", "core"},
    "metrics": {"training", "data", "core"},
    "report": {"models", "metrics", "data", "core"},
    "cli": {"diffusion", "report", "models", "metrics", "training", "data", "core"},
    "__main__": {"cli"},
    "__init__": {"diffusion", "models", "data", "core"},
}
SITES = {  # Rule 8: a library and the one module that imports it. numpy, pandas, torch and scipy are free.
    "PIL": "data.images",
    "cleanfid": "metrics.features",
    "cv2": "data.readers.pixels",
    "dvc": "cli.verbs.doctor",
    "jinja2": "report.rendering",
    "matplotlib": "report.figures",
    "packaging": "cli.verbs.doctor",
    "pydantic": "core.params",
    "pydicom": "data.readers.dicom",
    "rich": "cli.progress",
    "safetensors": "models.weights",
    "segmentation_models_pytorch": "metrics.segmentation",
    "torchvision": "metrics.augmentation",
    "yaml": "core.params",
}
FREE = {"numpy", "pandas", "torch", "scipy", "pig", *sys.stdlib_module_names}


def imported(text: str) -> set[str]:
    """The full names that Python code imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


IMPORTED = {module: imported(path.read_text(encoding="utf-8")) for module, path in MODULES.items()}


def loaded_by(modules: list[str]) -> set[str]:
    """The top-level modules that a new Python loads to import `modules` of pig."""
    code = f"import {', '.join(f'pig.{module}' for module in modules)}, sys; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return {name.split(".")[0] for name in run.stdout.split()}


@pytest.mark.parametrize("module", MODULES)
def test_a_room_imports_only_the_rooms_below_it(module):
    room = module.split(".")[0]
    found = {name.split(".")[1] for name in IMPORTED[module] if name.startswith("pig.")}
    assert found <= MAY_IMPORT[room] | {room, "__version__"}


def test_the_workflow_imports_core_and_the_table_of_methods_only():
    files = [ROOT / "Snakefile", *(ROOT / "workflow").rglob("*.smk")]
    lines = [line.strip() for path in files for line in path.read_text(encoding="utf-8").splitlines()]
    named = set().union(*(imported(line) for line in lines if line.startswith(("from pig", "import pig"))))
    assert all(name.startswith(("pig.core.", "pig.models.table")) for name in named)
    light = [module for module in MODULES if module.startswith("core.")]
    assert "torch" not in loaded_by([*light, "models.table"])


def test_a_library_has_one_import_site():
    found = {(name.split(".")[0], module) for module, names in IMPORTED.items() for name in names}
    extra = {("pydantic", "models.table")}  # schemas of methods
    assert {(name, module) for name, module in found if name not in FREE} - extra == set(SITES.items())


def test_diffusion_needs_torch_and_the_standard_library_only():
    assert {name.split(".")[0] for name in IMPORTED["diffusion"]} <= {"torch", *sys.stdlib_module_names}


def test_verbs_load_nothing_heavy_before_they_run():
    verbs = [module for module in MODULES if module.startswith("cli.verbs.")]
    assert not loaded_by(verbs) & {"torch", "numpy", "pandas", "matplotlib", "scipy"}


def test_pig_has_at_most_ten_entries():
    assert len({path.name for path in PACKAGE.iterdir()} - {"__pycache__", "py.typed"}) <= 10
