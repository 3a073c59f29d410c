"""The console command `asc`: `asc search` does the same as `python launch/search.py`, and so on."""

import sys
from importlib.util import module_from_spec, spec_from_file_location

from asc.launchers import NAMES, script

_HELP = f"""usage: asc COMMAND [OPTIONS]

Finds, trains and compresses acoustic scene classifiers that fit a hard size limit.

commands: {", ".join(NAMES)}; for a command's options: asc COMMAND --help"""


def main() -> None:
    """Run the launch script named by the first argument with the other arguments; exit with 2 if it is unknown."""
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in ("-h", "--help"):
        print(_HELP)
    elif name in NAMES:
        sys.argv = [f"asc {name}", *sys.argv[2:]]
        _run(name)
    else:
        print(f"error: there is no command {name}: give one of {', '.join(NAMES)}", file=sys.stderr)
        sys.exit(2)


def _run(name: str) -> None:
    """Run a launch script as `__main__`; unlike runpy, this keeps the name in `sys.argv` that the help shows."""
    spec = spec_from_file_location("__main__", script(name))
    assert spec is not None and spec.loader is not None
    module = sys.modules["__main__"] = module_from_spec(spec)
    spec.loader.exec_module(module)
