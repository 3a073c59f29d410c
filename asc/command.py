"""The console command `asc`: `asc search` does what `python launch/search.py` does, and so on."""

import sys
from importlib.util import module_from_spec, spec_from_file_location

from asc.launchers import NAMES, script

_HELP = f"""usage: asc COMMAND [OPTIONS]

Finds, trains and compresses acoustic scene classifiers that fit a hard size limit.

commands: {", ".join(NAMES)}; asc COMMAND --help says what each one takes"""


def main() -> None:
    """Run the launch script that the first argument names, with the others; exit code 2 for an unknown name."""
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
    """Run a launch script as `__main__`; unlike runpy, this leaves the name in `sys.argv`, which its help shows."""
    spec = spec_from_file_location("__main__", script(name))
    assert spec is not None and spec.loader is not None
    module = sys.modules["__main__"] = module_from_spec(spec)
    spec.loader.exec_module(module)
