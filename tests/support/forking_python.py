"""Stands in for Python where Ray starts its workers: has them forked, and is Python for everything else.

    python forking_python.py SOCKET ARGUMENT ...

See `forks.py`. It imports little, because each start of a worker runs it.
"""

import json
import os
import socket
import sys


def main(server: str, *arguments: str) -> None:
    """Have a worker of Ray forked by a server, or run Python with these arguments."""
    if not arguments or os.path.basename(arguments[0]) != "setup_worker.py":
        os.execv(sys.executable, [sys.executable, *arguments])
    wanted = {"command": arguments, "cwd": os.getcwd(), "env": dict(os.environ), "nice": os.nice(0)}
    with socket.socket(socket.AF_UNIX) as link:
        link.connect(server)
        socket.send_fds(link, [b"0"], [0, 1, 2])
        link.sendall(json.dumps(wanted).encode())
        link.shutdown(socket.SHUT_WR)
        link.recv(1)  # nothing, once the worker runs


if __name__ == "__main__":
    main(*sys.argv[1:])
