"""A downloader for pooch (https://www.fatiando.org/pooch) that goes on where a broken transfer stopped.

pooch's own starts again from the first byte, which for parts of 2 GB never ends on a poor line. What has come is kept
in a `.part` file and the rest asked for with HTTP Range (RFC 9110, section 14); a server that knows no ranges answers
with the whole file and the transfer starts anew.
"""

import os
import re
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, BinaryIO

import requests

_TIMEOUT_S = (20.0, 60.0)
_BLOCK_BYTES = 1 << 14  # small: what came of a block is lost when the connection breaks within it
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)")
_TRY_AGAIN = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)


class TransferBroken(Exception):
    """A transfer that may go on when it is tried again."""


class TransferRefused(Exception):
    """A transfer that will not work however often it is tried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resuming:
    """Fetches one file of a known size into `part`, and hands it to pooch when it is whole."""

    part: Path
    size_bytes: int
    progress: Callable[[int, int], None]

    def __call__(self, url: str, output_file: str, pooch: Any, check_only: bool = False) -> None:
        """Fetch what is not there yet, then link `output_file` to it (`part` stays until pooch has checked it).

        Raises:
            TransferBroken: the connection or the server failed; `part` keeps what came.
            TransferRefused: the server does not have the file or has one of another size, or `url` is not a URL.
        """
        if self._have_bytes() > self.size_bytes:
            self.part.unlink()
        if self._have_bytes() < self.size_bytes:
            try:
                self._fetch(url)
            except requests.RequestException as error:
                if isinstance(error, ValueError):  # an address that requests cannot read
                    raise TransferRefused(str(error)) from error
                raise TransferBroken(f"the connection failed ({_reason(error)})") from error
        Path(output_file).unlink(missing_ok=True)
        try:
            os.link(self.part, output_file)
        except OSError:  # a disk without hard links
            self.part.replace(output_file)

    def _have_bytes(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _fetch(self, url: str) -> None:
        have = self._have_bytes()
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
        with closing(requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT_S)) as answer:
            start = self._start(answer, have)
            with self.part.open("ab" if start else "wb") as file:
                self._receive(answer, file, start)
        if self._have_bytes() < self.size_bytes:
            raise TransferBroken(f"the server stopped after {self._have_bytes():,} of {self.size_bytes:,} bytes")

    def _start(self, answer: requests.Response, have: int) -> int:
        """Where the server's bytes belong: at `have`, or at 0 when it sends the whole file."""
        status = answer.status_code
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _TRY_AGAIN:
            if status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                self.part.unlink(missing_ok=True)
            raise TransferBroken(f"the server answered {status} {answer.reason}")
        if status == HTTPStatus.PARTIAL_CONTENT:
            said = _CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", ""))
            if said is None or int(said[1]) != have:
                self.part.unlink(missing_ok=True)
                raise TransferBroken("the server sent another range than was asked for")
            self._check_size(int(said[2]))
            return have
        if status != HTTPStatus.OK:
            raise TransferRefused(f"the server answered {status} {answer.reason}")
        length = answer.headers.get("Content-Length", "")
        if length.isdecimal():
            self._check_size(int(length))
        return 0

    def _receive(self, answer: requests.Response, file: BinaryIO, start: int) -> None:
        done = start
        self.progress(done, self.size_bytes)
        for block in answer.iter_content(_BLOCK_BYTES):
            done += len(block)
            if done > self.size_bytes:
                raise TransferRefused(f"the server sent more than the published {self.size_bytes:,} bytes")
            file.write(block)
            self.progress(done, self.size_bytes)

    def _check_size(self, said_bytes: int) -> None:
        if said_bytes != self.size_bytes:
            raise TransferRefused(f"the server has {said_bytes:,} bytes of it, published are {self.size_bytes:,}")


def _reason(error: Exception) -> str:
    """The innermost cause of a failed request in its own words; those around it repeat the address."""
    cause: BaseException = error
    while cause.__context__ is not None:
        cause = cause.__context__
    return f"{type(cause).__name__}: {cause}"
