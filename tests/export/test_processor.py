"""The kind of a processor from its name and flags."""

import pytest

from asc.export.processor import kind, products_overflow, this_machine


@pytest.mark.parametrize(
    ("machine", "flags", "overflow", "words"),
    [
        ("x86_64", "flags : fma avx2 bmi2", True, "x86_64 without VNNI"),
        ("x86_64", "flags : avx2 avx_vnni", False, "x86_64 with VNNI"),
        ("x86_64", "flags : avx512f avx512_vnni", False, "x86_64 with VNNI"),
        ("AMD64", None, None, "AMD64, VNNI not known"),
        ("aarch64", None, False, "aarch64"),
        ("arm64", "Features : asimd", False, "arm64"),
    ],
)
def test_int8_products_overflow_without_vnni(
    machine: str, flags: str | None, overflow: bool | None, words: str
) -> None:
    assert products_overflow(machine, flags) is overflow
    assert kind(machine, flags) == words


def test_this_machine_has_a_kind() -> None:
    machine, _ = this_machine()
    assert kind(*this_machine()).startswith(machine)
