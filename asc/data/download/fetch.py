"""A downloader for pooch (https://www.fatiando.org/pooch) that resumes a broken transfer.

pooch's own downloader starts again from the first byte, so parts of 2 GB never finish over a poor connection. This one
keeps the received bytes in a `.part` file and requests the rest with HTTP Range (RFC 9110, section 14). A server
without range support sends the whole file, and the transfer starts over.
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

TIMEOUT_S = (20.0, 60.0)
_BLOCK_BYTES = 1 << 14  # small: if the connection breaks, the current block is lost
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)")
_TRY_AGAIN = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)


class TransferBroken(Exception):
    """A transfer failed, but a retry may succeed."""


class TransferRefused(Exception):
    """A transfer failed, and retries will not help."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resuming:
    """Fetch one file of a known size into `part`, and pass it to pooch when it is complete."""

    part: Path
    size_bytes: int
    progress: Callable[[int, int], None]

    def __call__(self, url: str, output_file: str, pooch: Any, check_only: bool = False) -> None:
        """Fetch the missing bytes, then hard-link `output_file` to `part` (kept until pooch has checked it).

        Raises:
            TransferBroken: the connection or the server failed; `part` keeps the received bytes.
            TransferRefused: the server does not have the file, its size differs, or `url` is not a URL.
        """
        if self._have_bytes() > self.size_bytes:
            self.part.unlink()
        if self._have_bytes() < self.size_bytes:
            try:
                self._fetch(url)
            except requests.RequestException as error:
                if isinstance(error, ValueError):  # an address that requests cannot parse
                    raise TransferRefused(str(error)) from error
                raise TransferBroken(f"the connection failed ({reason(error)})") from error
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
        with closing(requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_S)) as answer:
            start = self._start(answer, have)
            with self.part.open("ab" if start else "wb") as file:
                self._receive(answer, file, start)
        if self._have_bytes() < self.size_bytes:
            raise TransferBroken(f"the server stopped after {self._have_bytes():,} of {self.size_bytes:,} bytes")

    def _start(self, answer: requests.Response, have: int) -> int:
        """Return the offset of the server's bytes: `have`, or 0 if it sends the whole file."""
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
            raise TransferRefused(
                f"the file on the server has {said_bytes:,} bytes, the published one {self.size_bytes:,}"
            )


def reason(error: Exception) -> str:
    """Return the message of the innermost cause of a failed request; the outer ones only repeat the address."""
    cause: BaseException = error
    while cause.__context__ is not None:
        cause = cause.__context__
    return f"{type(cause).__name__}: {cause}"
