"""Plotly's library (plotly.js, MIT licence, https://plotly.com/javascript/), packed to be held inside a page.

It is compressed, so a page takes 2 MB instead of 5; the page unpacks it with the browser's own DecompressionStream.
"""

import base64
import gzip
from functools import cache

from plotly.offline import get_plotlyjs


@cache
def packed_library() -> str:
    """Return the library, as Base64 of its gzip; the same library always gives the same text."""
    return base64.b64encode(gzip.compress(get_plotlyjs().encode("utf-8"), compresslevel=9, mtime=0)).decode("ascii")
