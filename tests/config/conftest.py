"""A small search space."""

import pytest
from small_space import TEXT

from asc.config.space import Space
from asc.config.space_file import parse_space


@pytest.fixture
def space() -> Space:
    return parse_space(TEXT, source="my.toml", name="my")
