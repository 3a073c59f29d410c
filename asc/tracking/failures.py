"""Explains why MLflow did not take what was sent: unreachable, silent, refusing, or a fault of a file.

If a server answered, the message repeats the answer and says what to do. MLflow's server (3.5 and later) answers 403 to
requests for any host but localhost or a private address, except for /health and /version. `--allowed-hosts` names
others, each as the complete Host header with its port, and replaces the defaults.
https://mlflow.org/docs/latest/self-hosting/security/network/
"""

import re
import shlex
import sys
from collections.abc import Iterator
from urllib.parse import urlsplit

import requests
import urllib3
from mlflow.exceptions import MlflowException, RestException
from sqlalchemy.exc import SQLAlchemyError

from asc.errors import machine_fault
from asc.tracking.address import is_database
from asc.tracking.schema import OtherSchema, Replaced

# What MLflow's client raises if MLflow or this machine is at fault; the errors of `requests` are OSErrors.
_FAILURES = (MlflowException, SQLAlchemyError, OSError, MemoryError, ModuleNotFoundError, OtherSchema, Replaced)
_TRANSIENT_STATUS = frozenset({408, 409, 425, 429})
_LONGEST_REASON = 200
_STATUS = re.compile(r"failed with error code (\d+) != \d+\. Response body: '(.*)'", re.DOTALL)
_RETRIED = re.compile(r"too many (\d+) error responses")
_NO_JSON = re.compile(r"not in a valid JSON format\. Response body: '(.*)'", re.DOTALL)
_SILENT = (requests.Timeout, urllib3.exceptions.TimeoutError, TimeoutError)


def failures() -> tuple[type[Exception], ...]:
    """The errors that MlflowStore raises if MLflow or this machine is at fault, for an `except`."""
    return *_FAILURES, *_object_store_failures()


def _object_store_failures() -> tuple[type[Exception], ...]:
    """The errors of boto3, an optional package that writes files to a bucket if the server tells clients to do so.

    Its import takes a second, so these are none until MLflow has imported it.
    """
    if "boto3" not in sys.modules:
        return ()
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError

    return Boto3Error, BotoCoreError, ClientError


def is_refusal(error: Exception) -> bool:
    """Whether waiting is useless: a permanent 4xx, another version's database, or a package that sending needs."""
    if isinstance(error, ModuleNotFoundError | OtherSchema):
        return True
    # Two searches that start together both create the experiment; the slower one finds it on its next attempt.
    if isinstance(error, MlflowException) and error.error_code == "RESOURCE_ALREADY_EXISTS":
        return False
    if (answer := _answer(_innermost(error))) is not None:
        status = answer[0]
    elif isinstance(error, MlflowException):
        status = error.get_http_status_code()  # type: ignore[no-untyped-call]
    else:
        return False
    return 400 <= status < 500 and status not in _TRANSIENT_STATUS


def problem(uri: str, error: Exception, *, what: str = "the events") -> str:
    """A message, without a full stop, that says why `what` could not be sent.

    It names the innermost cause, because MLflow's own messages repeat the whole request.
    """
    if isinstance(error, OtherSchema | Replaced):
        return str(error)
    cause = _innermost(error)
    if (fault := machine_fault(cause)) is not None and (isinstance(cause, MemoryError) or _has_file(cause)):
        return f"{what} cannot be sent to MLflow at {uri}: {fault}"
    if isinstance(cause, ModuleNotFoundError):
        return f"{what} cannot be sent to MLflow at {uri} without the package {cause.name}: install it"
    if (answer := _answer(cause)) is not None:
        return f"MLflow at {uri} {_answered(uri, *answer, what)}"
    bucket = next((each for each in _chain(error) if isinstance(each, _object_store_failures())), None)
    if bucket is not None:
        return f"the bucket in which MLflow at {uri} keeps files cannot be used ({_cut(str(bucket))})"
    reason = _cut(str(cause)) or type(cause).__name__
    if is_refusal(error):
        return f"MLflow at {uri} refuses {what} ({reason})"
    if is_database(uri):
        return f"MLflow's database {uri} cannot be used ({reason})"
    return f"MLflow at {uri} {'does not answer' if isinstance(cause, _SILENT) else 'cannot be reached'} ({reason})"


def _answered(uri: str, status: int, said: str, what: str) -> str:
    """The end of the message about a server that answered with this status and text."""
    reason = f" ({_cut(said)})" if said.strip() else ""
    if status == 403 and said.startswith("Invalid Host header"):
        return f"answers 403{reason}: start its server with --allowed-hosts {shlex.quote(_allowed_hosts(uri))}"
    if status in (401, 403):
        return (
            f"refuses {what} with {status}{reason}: set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or "
            "MLFLOW_TRACKING_TOKEN, to those of a user who may write there"
        )
    if status == 200 or (status == 404 and not re.match(r"[A-Z_]+: ", said)):
        return f"answers {status}, but not as MLflow does{reason}: check that this is the address of an MLflow server"
    if status >= 500:
        return f"answers {status}{reason}: see its log"
    return f"refuses {what} with {status}{reason}"


def _allowed_hosts(uri: str) -> str:
    """The value of `--allowed-hosts` with which a server accepts requests to this address and to localhost."""
    parts = urlsplit(uri)
    name = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    ports = {"http": 80, "https": 443}
    # A client leaves the default port out of the Host header.
    host = name if parts.port in (None, ports.get(parts.scheme)) else f"{name}:{parts.port}"
    return f"{host},localhost:*,127.0.0.1:*"


def _answer(cause: BaseException) -> tuple[int, str] | None:
    """The status and text of the server's answer that an error reports; None if there is none."""
    if isinstance(cause, requests.HTTPError) and cause.response is not None:
        return cause.response.status_code, cause.response.text
    if isinstance(cause, urllib3.exceptions.ResponseError):
        found = _RETRIED.search(str(cause))
        return (int(found[1]), "") if found else None
    if isinstance(cause, RestException):
        return cause.get_http_status_code(), str(cause)  # type: ignore[no-untyped-call]
    if isinstance(cause, MlflowException):
        if found := _STATUS.search(str(cause)):
            return int(found[1]), found[2]
        if found := _NO_JSON.search(str(cause)):
            return 200, found[1]
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error, the error that caused it, and so on to the innermost."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)


def _innermost(error: BaseException) -> BaseException:
    *_, last = _chain(error)
    return last


def _has_file(cause: BaseException) -> bool:
    return isinstance(cause, OSError) and cause.filename is not None


def _cut(text: str) -> str:
    said = " ".join(text.split())
    return said if len(said) <= _LONGEST_REASON else f"{said[: _LONGEST_REASON - 3]}..."
