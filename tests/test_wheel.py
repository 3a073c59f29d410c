"""asc without its checkout: a wheel, installed into its own folder, runs from an empty folder."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from patience import PATIENCE_S

from asc.config.recipes.loading import load_experiment
from asc.launchers import NAMES
from asc.size.law import cost

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the installed wheel; its dependencies come from this environment."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    built = [*pip, "wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run(built, check=True, timeout=PATIENCE_S)
    (wheel,) = folder.glob("*.whl")
    subprocess.run(
        [*pip, "install", "--no-deps", "--no-index", "--target", str(folder / "there"), str(wheel)], check=True
    )
    return folder / "there"


def run(installed: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the console command in a folder."""
    command = [sys.executable, str(installed / "bin" / "asc"), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(installed), "ASC_CACHE": str(folder / "cache")}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )


def test_it_includes_its_recipes_and_launchers(installed: Path, tmp_path: Path) -> None:
    sized = run(installed, tmp_path, "size", "--recipe", "16b_prune", "--json")
    assert sized.returncode == 0, sized.stderr
    assert json.loads(sized.stdout)["bytes"] == cost(load_experiment("16b_prune")).stored.nonzero_bytes
    helped = run(installed, tmp_path, "size", "--help")
    assert helped.stdout.startswith("usage: asc size")
    assert all((installed / "asc" / "report" / f"page.{kind}").is_file() for kind in ("css", "js"))
    assert all((installed / "asc" / "launch" / f"{name}.py").is_file() for name in NAMES)


def test_it_plans_a_search_in_a_shipped_space(installed: Path, tmp_path: Path) -> None:
    planned = run(installed, tmp_path, "search", "--dry-run", "--space", "idlab128")
    assert planned.returncode == 0, planned.stderr
    assert "space idlab128, budget 128 KB" in planned.stdout + planned.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) in ([], ["cache"])


def test_its_messages_name_its_own_command(installed: Path, tmp_path: Path) -> None:
    refused = run(installed, tmp_path, "evaluate", "nowhere.safetensors")
    assert refused.returncode == 2 and "Traceback" not in refused.stderr
    wrong = run(installed, tmp_path, "size", "--recipe", str(installed / "asc" / "search_spaces" / "quick.toml"))
    assert wrong.returncode == 2 and "give it as --space to asc search" in wrong.stderr
    unknown = run(installed, tmp_path, "serach")
    assert unknown.returncode == 2 and "there is no command serach" in unknown.stderr
