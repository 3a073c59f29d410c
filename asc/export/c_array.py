"""Writes a file as an aligned C array, as TFLite Micro needs it on devices without a file system.

https://ai.google.dev/edge/litert/microcontrollers/build_convert. The source and the header compile as C11 and as C++11.
"""

from collections.abc import Mapping

_A_LINE = 12
_HEADER = """\
{notes}
#ifndef ASC_MODEL_DATA_H_
#define ASC_MODEL_DATA_H_

#ifdef __cplusplus
extern "C" {{
#endif

#define ASC_MODEL_DATA_LENGTH {length}
extern const unsigned char asc_model_data[ASC_MODEL_DATA_LENGTH];

#ifdef __cplusplus
}}
#endif

#endif
"""
_SOURCE = """\
#include "model_data.h"

#ifndef __cplusplus
#include <stdalign.h>
#endif

alignas(16) const unsigned char asc_model_data[ASC_MODEL_DATA_LENGTH] = {{
{lines}
}};
"""


def c_array(data: bytes, notes: Mapping[str, str]) -> dict[str, bytes]:
    """Return `model_data.c` and `model_data.h`, which hold these bytes; the notes become a comment in the header."""
    said = "\n".join(f"// {_comment(name)}: {_comment(text)}" for name, text in notes.items())
    numbers = [", ".join(f"0x{byte:02x}" for byte in data[at : at + _A_LINE]) for at in range(0, len(data), _A_LINE)]
    source = _SOURCE.format(lines="\n".join(f"  {line}," for line in numbers))
    header = _HEADER.format(notes=said, length=len(data))
    return {"model_data.c": source.encode(), "model_data.h": header.encode()}


def _comment(text: str) -> str:
    """Replace what could end a one-line comment or continue it: line ends, backslashes and trigraphs."""
    return "".join(" " if character in "\\?" or not character.isprintable() else character for character in text)
