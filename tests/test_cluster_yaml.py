"""cluster.yaml: Ray's own code and schema accept it, and what asc promises about a cluster holds."""

import fnmatch
import re
import stat
import subprocess
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from packaging.requirements import Requirement
from ray.autoscaler._private.util import prepare_config, validate_config

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "cluster.yaml").read_text("utf-8")
CODE = "\n".join(line for line in TEXT.splitlines() if not line.lstrip().startswith("#"))
PAGE = (ROOT / "docs" / "cluster.md").read_text("utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
LISTS = ("initialization", "setup", "head_setup", "worker_setup", "head_start_ray", "worker_start_ray")
PINNED = {"ray", "torch", "torchaudio", "optuna", "mlflow"}


def raw() -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load(TEXT)
    return config


def taken(config: dict[str, Any]) -> dict[str, Any]:
    """The config as `ray up` prepares and checks it before it first contacts AWS."""
    prepared: dict[str, Any] = prepare_config(config)
    validate_config(prepared)
    return prepared


def commands() -> Iterator[str]:
    for name in LISTS:
        yield from raw()[f"{name}_commands"]


def workers() -> dict[str, Any]:
    config = taken(raw())
    return {name: kind for name, kind in config["available_node_types"].items() if name != config["head_node_type"]}


def test_ray_accepts_it() -> None:
    config = taken(raw())
    assert config["cluster_name"] == "asc" and config["available_node_types"]["head"]["max_workers"] == 0
    assert config["worker_setup_commands"][: len(config["setup_commands"])] == config["setup_commands"]


@pytest.mark.parametrize(
    ("broken", "error", "reason"),
    [
        (lambda c: c.update(max_workers="eight"), jsonschema.ValidationError, "'eight' is not of type 'integer'"),
        (lambda c: c.update(idle_timeout=10), jsonschema.ValidationError, "'idle_timeout' was unexpected"),
        (lambda c: c["provider"].update(type="awss"), NotImplementedError, "awss"),
        (lambda c: c.update(head_node_type="haed"), ValueError, "`head_node_type` must be one of"),
        (lambda c: c.pop("provider"), KeyError, "provider"),
        (lambda c: c["provider"].pop("type"), KeyError, "type"),
        (
            lambda c: c["available_node_types"]["gpu_l4"].pop("resources"),
            jsonschema.ValidationError,
            "'resources' is a",
        ),
        (lambda c: c["available_node_types"]["head"].update(min_workers=9), ValueError, "`max_workers` is smaller"),
        (lambda c: c["setup_commands"].append(None), jsonschema.ValidationError, "None is not of type 'string'"),
        (lambda c: c["auth"].update(token="x"), jsonschema.ValidationError, "'token' was unexpected"),
    ],
)
def test_ray_refuses_a_broken_config(
    broken: Callable[[dict[str, Any]], Any], error: type[Exception], reason: str
) -> None:
    config = raw()
    broken(config)
    with pytest.raises(error, match=re.escape(reason)):
        taken(config)


def test_aws_would_accept_every_node() -> None:
    session = pytest.importorskip("botocore.session").get_session()
    validate = pytest.importorskip("botocore.validate").ParamValidator().validate
    request = session.get_service_model("ec2").operation_model("RunInstances").input_shape
    for kind in raw()["available_node_types"].values():
        report = validate({**kind["node_config"], "MinCount": 1, "MaxCount": 1}, request)
        assert not report.has_errors(), report.generate_report()
    assert validate({"MinCount": 1, "MaxCount": 1, "InstanceMarket": {}}, request).has_errors(), "wrong keys are found"


def test_workers_are_spot_gpus_from_zero_and_the_head_is_on_demand() -> None:
    for name, kind in workers().items():
        assert kind["resources"]["GPU"] >= 1, f"{name}: to scale from zero, Ray must know of the GPU"
        assert kind["min_workers"] == 0 < kind["max_workers"] <= raw()["max_workers"]
        assert kind["node_config"]["InstanceMarketOptions"]["MarketType"] == "spot"
    head = raw()["available_node_types"][raw()["head_node_type"]]
    assert "InstanceMarketOptions" not in head["node_config"] and head["resources"]["CPU"] == 0
    images = {kind["node_config"]["ImageId"] for kind in raw()["available_node_types"].values()}
    assert len(images) == 1, "one image, and so one Python, on all nodes"


def secrets(text: str) -> list[str]:
    """Everything that looks like a secret or an account, except the names of the token's file and mode."""
    harmless = (
        r"RAY_AUTH_MODE=token\b|RAY_AUTH_TOKEN_PATH=[\w/~.]*/auth_token\b|[\w/~.]*/auth_token\b|HttpTokens: required"
    )
    looks = r"[^\n]*(?i:token|secret|passw|api_?key|private_key|credential)[^\n]*"
    keys = r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b|[0-9a-fA-F]{32,}|[A-Za-z0-9+/=]{60,}|-----BEGIN|\b[0-9]{12}\b"
    return re.findall(looks, re.sub(harmless, "", text)) + re.findall(keys, re.sub(r"resolve:ssm:\S+", "", text))


@pytest.mark.parametrize(
    "planted",
    [
        "RAY_AUTH_TOKEN=abc",
        "aws_secret_access_key: x",
        "AKIA" + "A" * 16,
        "0123456789abcdef" * 4,
        "arn:aws:iam::123456789012:x",
    ],
)
def test_it_has_no_secret(planted: str) -> None:
    assert not secrets(CODE)
    assert secrets(f"{CODE}\n      {planted}\n"), "a planted secret must be found"
    assert "FILL-IN-YOUR-BUCKET" in CODE and TEXT.count("FILL-IN-YOUR-BUCKET") == 1


def test_dashboard_and_mlflow_listen_on_loopback_and_only_ssh_is_open() -> None:
    (mlflow,) = [command for command in commands() if "mlflow server" in command]
    (head,) = [command for command in commands() if "--head" in command]
    assert "--host 127.0.0.1 " in mlflow and "--dashboard-host=127.0.0.1 " in head
    assert "0.0.0.0" not in CODE and "::/0" not in CODE
    assert raw()["provider"]["security_group"].keys() == {"GroupName"}, "Ray's own rules: ssh, and the nodes themselves"


def test_ray_never_starts_without_the_token() -> None:
    starts = [command for command in commands() if "ray start" in command]
    assert len(starts) == 2
    for command in starts:
        assert re.search(r"RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=~/\.ray/auth_token\s+ray start", command)
    (remote,) = [remote for remote, local in raw()["file_mounts"].items() if local == "~/.ray/auth_token"]
    assert remote == "/home/ubuntu/.ray/auth_token"


def test_pinned_versions_are_allowed_by_the_project() -> None:
    (install,) = [command for command in commands() if "pip install" in command]
    pins = dict(re.findall(r"([a-z]+)==([0-9.]+)", install))
    assert pins.keys() == PINNED
    allowed = {r.name: r.specifier for r in map(Requirement, PROJECT["dependencies"])}
    for name, version in pins.items():
        assert allowed[name].contains(version), f"{name} {version} is not within {allowed[name]}"
    (extra,) = re.findall(r'-e "\$HOME/asc\[(\w+)\]"', install)
    assert any(Requirement(r).name == "boto3" for r in PROJECT["optional-dependencies"][extra])
    assert f"rayVersion: '{pins['ray']}'" in PAGE


def test_files_that_pip_and_a_search_need_are_copied() -> None:
    mounts = {local: remote for remote, local in raw()["file_mounts"].items() if not local.startswith("~")}
    assert all((ROOT / local).exists() and remote == f"/home/ubuntu/asc/{local}" for local, remote in mounts.items())
    needed = {"asc", "launch", "search_spaces", "pyproject.toml", PROJECT["readme"], *PROJECT["license-files"]}
    assert mounts.keys() == needed
    excluded = raw()["rsync_exclude"]
    for folder in ("asc", "launch", "search_spaces"):
        for path in (ROOT / folder).rglob("*.py"):
            parts = path.relative_to(ROOT).parts
            assert not [p for p in parts for pattern in excluded if fnmatch.fnmatch(p, pattern)], path


def test_every_choice_is_explained_and_there_is_one_region() -> None:
    lines = TEXT.splitlines()
    for number, line in enumerate(lines):
        if re.match(r"\w+:", line):
            assert lines[number - 1].startswith("# "), f"{line} has no comment"
    assert f"AWS_DEFAULT_REGION={raw()['provider']['region']}\n" in TEXT


@pytest.mark.parametrize("command", commands())
def test_every_command_is_valid_shell(command: str) -> None:
    subprocess.run(["bash", "-n", "-c", command], check=True, capture_output=True)


@pytest.fixture
def node(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run commands as a node's shell would, with stubs that log how they were called."""
    stubs = {
        "aws": '[ "$AWS_FAILS" != yes ]',
        "systemctl": "[ -e ~/unit ]",
        "sudo": "touch ~/unit",
        "ray": 'echo "mode=$RAY_AUTH_MODE path=$RAY_AUTH_TOKEN_PATH in=$PWD" >> ~/log',
        "pip": "true",
        "ulimit": "true",
    }
    for folder in ("bin", "home/venv/bin", "home/.ray", "home/asc"):
        (tmp_path / folder).mkdir(parents=True)
    for name, body in stubs.items():
        for folder in ("bin", "home/venv/bin"):
            stub = tmp_path / folder / name
            stub.write_text(f'#!/bin/bash\necho "{name} $*" >> ~/log\n{body}\n')
            stub.chmod(0o755)
    (tmp_path / "home/.ray/auth_token").write_text("not really one")

    def run(command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        home = tmp_path / "home"
        return subprocess.run(
            ["bash", "-c", f"[ ! -e ~/.bashrc ] || . ~/.bashrc; {command}"],
            env={"HOME": str(home), "USER": "ubuntu", "PATH": f"{tmp_path}/bin:/usr/bin:/bin", **environment},
            capture_output=True,
            text=True,
            cwd=home,
        )

    return run


def test_setting_up_the_head_twice_is_idempotent(
    tmp_path: Path, node: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    config = raw()
    for _ in range(2):
        for command in config["setup_commands"] + config["head_setup_commands"] + config["head_start_ray_commands"]:
            ended = node(command)
            assert ended.returncode == 0, (command, ended.stderr)
    home = tmp_path / "home"
    assert (home / ".bashrc").read_text().count("cluster.env") == 1
    assert "export ASC_BUCKET=FILL-IN-YOUR-BUCKET\n" in (home / "cluster.env").read_text()
    assert stat.S_IMODE((home / ".ray/auth_token").stat().st_mode) == 0o600
    log = (home / "log").read_text().splitlines()
    (mlflow,) = [line for line in log if line.startswith("sudo systemd-run")]
    assert f"--backend-store-uri sqlite:///{home}/mlflow/mlflow.db" in mlflow
    assert "--artifacts-destination s3://FILL-IN-YOUR-BUCKET/mlflow" in mlflow
    assert log.count(f"mode=token path={home}/.ray/auth_token in={home}/asc") == 2


def test_a_bucket_that_cannot_be_listed_stops_the_set_up(
    node: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    set_up, enter = raw()["setup_commands"][:2]
    assert node(set_up).returncode == node(enter).returncode == 0
    (check,) = [command for command in raw()["setup_commands"] if "aws s3 ls" in command]
    ended = node(check, AWS_FAILS="yes")
    assert ended.returncode == 1 and "cannot list the bucket 'FILL-IN-YOUR-BUCKET'" in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_the_kuberay_manifest_requires_the_token() -> None:
    (block,) = re.findall(r"((?:^    .*\n|^\n)*^    kind: RayJob\n(?:^    .*\n|^\n)*)", PAGE, flags=re.MULTILINE)
    manifest = yaml.safe_load(block)
    cluster = manifest["spec"]["rayClusterSpec"]
    assert manifest["apiVersion"] == "ray.io/v1" and cluster["authOptions"] == {"mode": "token"}
    assert "--address auto" in manifest["spec"]["entrypoint"]
    (group,) = cluster["workerGroupSpecs"]
    assert group["minReplicas"] == 0 < group["maxReplicas"]
    (container,) = group["template"]["spec"]["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 1
