"""The kind of processor that an export was checked on: whether 8-bit products can overflow there.

They can on x86 without VNNI instructions, if a file holds int8 weights and the session is not told to be exact
(https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html, "when and why do I need to try U8U8").
"""

import platform
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
_X86 = ("x86_64", "amd64", "i686", "i386")


def products_overflow(machine: str, flags: str | None) -> bool | None:
    """Whether products of uint8 and int8 can overflow on this machine; None if an x86 processor's flags are unknown."""
    if machine.lower() not in _X86:
        return False
    return None if flags is None else "vnni" not in flags


def kind(machine: str, flags: str | None) -> str:
    """Describe a processor in words, such as "x86_64 without VNNI"."""
    if machine.lower() not in _X86:
        return machine
    overflow = products_overflow(machine, flags)
    return f"{machine}, VNNI not known" if overflow is None else f"{machine} {'without' if overflow else 'with'} VNNI"


def this_machine() -> tuple[str, str | None]:
    """Return the machine's name and the text of Linux's /proc/cpuinfo (None on other systems)."""
    try:
        return platform.machine(), _CPUINFO.read_text("utf-8", errors="replace")
    except OSError:
        return platform.machine(), None
