#!/bin/sh
# PyAV 18.1.0 (FFmpeg 8.1): ALAC that FFmpeg writes to CAF is read back too short, without an error.
# The packet table's "remainder frames" say how much of the last packet is padding, but ALAC's last packet is short
# already: the trimming is done a second time. 88,200 samples written (21 packets of 4,096 and one of 2,184), 86,288 read;
# with the decoder's flags2=+skip_manual, which leaves trimming to the caller, all 88,200. In MP4 nothing is lost.
# Seen: "caf 86288, caf with skip_manual 88200, ipod 88200". Ends with 1 where that has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check av==18.1.0 "numpy<3"
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import sys

import av
import numpy as np

SAMPLES = 88_200
sound = (np.sin(np.arange(SAMPLES) / 20) * 20_000).astype(np.int16)


def write(path, container):
    with av.open(path, "w", format=container) as output:
        stream = output.add_stream("alac", rate=44_100, layout="mono", format="s16p")
        for start in range(0, SAMPLES, 1024):
            frame = av.AudioFrame.from_ndarray(sound[None, start : start + 1024].copy(), format="s16p", layout="mono")
            frame.sample_rate, frame.pts = 44_100, start
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))


def read(path, **options):
    with av.open(path) as file:
        stream = file.streams.audio[0]
        stream.codec_context.options = options
        return sum(frame.samples for frame in file.decode(stream))


write(sys.argv[1] + "/a.caf", "caf")
write(sys.argv[1] + "/a.m4a", "ipod")
found = (read(sys.argv[1] + "/a.caf"), read(sys.argv[1] + "/a.caf", flags2="+skip_manual"), read(sys.argv[1] + "/a.m4a"))
print("caf %d, caf with skip_manual %d, ipod %d" % found)
sys.exit(found != (86_288, 88_200, 88_200))
PYTHON
