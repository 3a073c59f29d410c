"""The console command `asc`: `asc search` does the same as `python launch/search.py`, and so on."""

import io
import sys
import typing
from functools import reduce
from importlib.util import module_from_spec, spec_from_file_location
from operator import or_
from types import ModuleType
from typing import Annotated, Any

from asc.launchers import NAMES, script

_SHELLS = ("bash", "zsh", "fish")
_HELP = f"""usage: asc COMMAND [OPTIONS]

Finds, trains and compresses acoustic scene classifiers that fit a hard size limit.

commands: {", ".join(NAMES)}; for a command's options: asc COMMAND --help
completion in a shell: asc completion {"|".join(_SHELLS)} prints what it needs, such as for bash:
  source <(asc completion bash)"""


def main() -> None:
    """Run the launch script named by the first argument with the other arguments; exit with 2 if it is unknown."""
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in ("-h", "--help"):
        print(_HELP)
    elif name in NAMES:
        sys.argv = [f"asc {name}", *sys.argv[2:]]
        _run(name)
    elif name == "completion":
        _complete(sys.argv[2:])
    else:
        _refuse(f"there is no command {name}: give one of {', '.join(NAMES)}")


def _refuse(sentence: str) -> None:
    print(f"error: {sentence}", file=sys.stderr)
    sys.exit(2)


def _run(name: str) -> None:
    """Run a launch script as `__main__`; unlike runpy, this keeps the name in `sys.argv` that the help shows."""
    _executed("__main__", name)


def _complete(arguments: list[str]) -> None:
    """Print the completion of all commands for a shell."""
    if len(arguments) != 1 or arguments[0] not in _SHELLS:
        _refuse(f"asc completion needs the name of a shell: give one of {', '.join(_SHELLS)}")
    import tyro

    from asc.console.cli import CONFIG, standard_output
    from asc.console.grouped import grouped

    commands = list[Any]()
    for name in NAMES:
        options: Any = typing.get_type_hints(_executed(f"asc_launch_{name}", name).main)["options"]
        plain = options if typing.get_origin(options) else grouped(options)
        commands.append(Annotated[plain, tyro.conf.subcommand(name)])
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")
    with standard_output():
        tyro.cli(reduce(or_, commands), prog="asc", args=["--tyro-print-completion", *arguments], config=CONFIG)


def _executed(as_name: str, name: str) -> ModuleType:
    """Import the launch script of this name as a module called `as_name`."""
    spec = spec_from_file_location(as_name, script(name))
    assert spec is not None and spec.loader is not None
    sys.modules[as_name] = module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
