"""launch/data.py as a user starts it: download, verify, pack; exit codes, the JSON object, the next command."""

import functools
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile
from forked import Forked
from patience import PATIENCE_S

import asc.data.download.packages
import asc.data.download.verify
from asc.data.download.packages import Package, PackageSet
from asc.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "launch" / "data.py"
SET = "TAU-urban-acoustic-scenes-2020-mobile-evaluation"


def run(*arguments: str, cache: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLUMNS": "300", "OMP_NUM_THREADS": "1"}
    environment |= {"ASC_CACHE": str(cache)} if cache else {}
    process = Forked([str(SCRIPT), *arguments], cwd=ROOT, env=environment)
    out, err = process.communicate(PATIENCE_S)
    return subprocess.CompletedProcess(arguments, process.returncode or 0, out, err)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """An evaluation set of three clips."""
    root = tmp_path / SET
    (root / "audio").mkdir(parents=True)
    (root / "evaluation_setup").mkdir()
    for number in range(3):
        soundfile.write(root / "audio" / f"{number}.wav", 0.01 * np.sin(np.arange(8_820)), 44_100, subtype="PCM_24")
    names = "\n".join(["filename", *(f"audio/{number}.wav" for number in range(3))])
    (root / "evaluation_setup" / "fold1_test.csv").write_text(names)
    return root


def test_help_explains_each_command() -> None:
    answer = run("--help")
    assert answer.returncode == 0 and all(name in answer.stdout for name in ("download", "verify", "pack", "Zenodo"))
    for command, words in (
        ("download", ("tau2020", "tau2023-eval", "--to DIR", "--dry-run", "--keep-archives", "--url URL")),
        ("verify", ("SPEC", "tau2020:DIR", "exit code")),
        ("pack", ("SPEC", "--cache DIR", "--split", "tau2022:DIR")),
    ):
        answer = run(command, "--help")
        assert answer.returncode == 0 and all(word in answer.stdout for word in words)
    assert run().returncode == 2 and run("fetch").returncode == 2


def test_a_dry_run_prints_sizes_and_writes_nothing(tmp_path: Path) -> None:
    answer = run("download", "tau2020", "--to", str(tmp_path / "new"), "--dry-run")
    assert "18 of 18 parts are left: 27,364,817,167 bytes to fetch, about 30,476,318,540 bytes" in answer.stdout
    assert "bytes free and has" in answer.stdout and "non-commercial" in answer.stdout
    enough = shutil.disk_usage(tmp_path).free > 33_000_000_000
    assert answer.returncode == (0 if enough else 2)
    assert not (tmp_path / "new").exists()
    assert run("download", "tau2019", "--to", str(tmp_path)).returncode == 2


def test_verify_finds_missing_and_damaged_files(tree: Path) -> None:
    answer = run("verify", f"tau2020:{tree}")
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.splitlines()[-1] == f"next: python launch/data.py pack tau2020:{tree}"
    (tree / "audio" / "1.wav").unlink()
    os.truncate(tree / "audio" / "2.wav", 2_000)
    answer = run("verify", f"tau2020:{tree}", "--json")
    assert answer.returncode == 2 and answer.stdout.count("\n") == 1
    found = json.loads(answer.stdout)
    assert found["missing"] == ["audio/1.wav"] and found["whole"] is False
    assert [each["path"] for each in found["damaged"]] == ["audio/2.wav"]
    last = answer.stderr.splitlines()[-1]
    assert last.startswith(f"error: tau2020:{tree} is not complete (1 missing, 1 damaged): delete the damaged files")
    assert run("verify", f"tau2020:{tree / 'audio'}").returncode == 2


def test_pack_writes_a_store_and_reuses_it(tree: Path, tmp_path: Path) -> None:
    answer = run("pack", f"tau2020:{tree}", "--json", cache=tmp_path / "cache")
    assert answer.returncode == 0, answer.stderr
    packed = json.loads(answer.stdout)
    assert packed["clips"] == 3 and packed["bytes"] == 3 * 8_820 * 2
    assert Path(packed["store"]).parent == tmp_path / "cache" and (Path(packed["store"]) / "audio.i16").is_file()
    again = run("pack", f"tau2020:{tree}", "--cache", str(tmp_path / "cache"))
    assert packed["store"] in again.stdout and "packing" not in again.stderr
    assert again.stdout.splitlines()[-1].startswith("next: python launch/evaluate.py MODEL --data tau2020:")


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def mirror(tree: Path, tmp_path: Path) -> Iterator[tuple[str, PackageSet]]:
    """A server with the tree in two archives: its address and the table of archives."""
    served = tmp_path / "served"
    served.mkdir()
    parts = {f"{SET}.meta.zip": ["evaluation_setup/fold1_test.csv"]}
    parts[f"{SET}.audio.1.zip"] = [f"audio/{number}.wav" for number in range(3)]
    for name, files in parts.items():
        with zipfile.ZipFile(served / name, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in files:
                archive.write(tree / file, f"{SET}/{file}")
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(served)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    packages = tuple(
        Package(
            file=name, size_bytes=len(content := (served / name).read_bytes()), md5=hashlib.md5(content).hexdigest()
        )
        for name in parts
    )
    fields = {"name": "tau2020-eval", "title": "Three clips", "spec": "tau2020", "licence": "none", "root": SET}
    yield (
        f"http://127.0.0.1:{server.server_port}",
        PackageSet(**fields, url="https://127.0.0.1:1", unpacked_bytes=80_000, packages=packages),
    )
    server.shutdown()
    thread.join()
    server.server_close()


def script() -> ModuleType:
    specification = importlib.util.spec_from_file_location("launch_data", SCRIPT)
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules["launch_data"] = module
    specification.loader.exec_module(module)
    return module


def test_download_restores_what_verify_finds_missing(
    mirror: tuple[str, PackageSet],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    url, packages = mirror
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(asc.data.download.packages, "package_set", lambda name: packages)
    monkeypatch.setattr(asc.data.download.verify, "package_sets", lambda: (packages,))
    data = script()
    command = data.Download(name="tau2020-eval", to=tmp_path / "data", url=url)
    assert data.main(command) == 0
    told = capsys.readouterr()
    root = tmp_path / "data" / SET
    assert told.out.splitlines()[-1] == f"next: python launch/data.py verify tau2020:{root}"
    assert f"fetching {SET}.audio.1.zip: " in told.err and f"unpacking {SET}.meta.zip: " in told.err
    assert data.main(data.Verify(spec=f"tau2020:{root}")) == 0
    (root / "audio" / "1.wav").unlink()
    capsys.readouterr()
    assert data.main(data.Verify(spec=f"tau2020:{root}")) == 2
    assert f"run python launch/data.py download tau2020-eval --to {tmp_path / 'data'}" in capsys.readouterr().err
    assert data.main(command) == 0
    assert "1 of 2 parts are left" in capsys.readouterr().out
    assert data.main(data.Verify(spec=f"tau2020:{root}", json=True)) == 0
    assert json.loads(capsys.readouterr().out)["whole"] is True
    assert data.main(command) == 0
    assert f"all 2 parts are unpacked in {root} already" in capsys.readouterr().out
    with pytest.raises(InputError, match="is not a web address"):
        data.main(data.Download(name="tau2020-eval", to=tmp_path / "other", url="ftp://x"))


def test_group_from_is_repeated_in_the_next_command(tmp_path: Path) -> None:
    for label in "xy":
        (tmp_path / "set" / label).mkdir(parents=True)
        for name in (f"{number}-{take}" for number in range(9) for take in "ab"):
            soundfile.write(tmp_path / "set" / label / f"{name}.wav", 0.01 * np.ones(800), 8_000)
    spec, groups = f"folder:{tmp_path / 'set'}", ("--group-from", r"^(./\d)-")
    answer = run("verify", spec)
    assert answer.returncode == 0 and "note: 36 files of folder:" in answer.stdout
    assert (
        answer.stdout.splitlines()[-1]
        == rf"next: python launch/search.py --budget-kb 128 --data {spec} --group-from '/(\d+)-'"
    ), "as the note proposes"
    answer = run("verify", spec, *groups)
    assert answer.returncode == 0 and "note:" not in answer.stdout
    assert (
        answer.stdout.splitlines()[-1]
        == rf"next: python launch/search.py --budget-kb 128 --data {spec} --group-from '^(./\d)-'"
    )
    answer = run("pack", spec, *groups, "--sample-rate-hz", "8000", cache=tmp_path / "cache")
    assert answer.returncode == 0 and answer.stderr.count("note:") == 0, answer.stderr
    assert answer.stdout.splitlines()[-1].endswith(rf"--data {spec} --group-from '^(./\d)-'")
    assert "note: 36 files" in run("pack", spec, cache=tmp_path / "cache").stderr
    for command, place in (("verify", spec), ("pack", spec), ("verify", "tau2020:nowhere"), ("pack", "synthetic")):
        answer = run(command, place, "--group-from", "(z)", cache=tmp_path / "cache")
        assert answer.returncode == 2 and answer.stderr.count("\n") == 1 and "--group-from (z)" in answer.stderr
