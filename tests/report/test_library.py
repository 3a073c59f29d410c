"""Plotly's library is packed without loss, and so small that a page stays below its limit."""

import base64
import gzip

from plotly.offline import get_plotlyjs

from asc.report.library import packed_library


def test_the_library_is_unpacked_to_what_plotly_ships() -> None:
    packed = packed_library()
    assert gzip.decompress(base64.b64decode(packed)).decode() == get_plotlyjs()
    assert len(packed) < 2_500_000
