#!/usr/bin/env bash
# FFmpeg 8.1 (PyAV 18.1.0), Python 3.11: of a big-endian WAV (RIFX) the header is read right and the samples wrong.
#
# FFmpeg's WAV demuxer knows RIFX: it reads rate, channels, bits and lengths in the file's byte order. The format tag is
# then looked up as in any other WAV, so that 16-bit PCM is decoded as pcm_s16le. Every sample comes out with its two
# bytes exchanged: a tone becomes loud noise of the right length, without an error or a warning. libsndfile
# (soundfile 0.14.0), which writes the file here, reads it right.
#
# Exits 1 if that is no longer so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "av==18.1.0" "soundfile==0.14.0" "numpy<3"

cat > "$folder/program.py" << 'PROGRAM'
import sys
import av, numpy, soundfile

tone = (8000 * numpy.sin(numpy.arange(8000) / 10)).astype("int16")
soundfile.write(sys.argv[1], tone, 8000, format="WAV", subtype="PCM_16", endian="BIG")
right, rate = soundfile.read(sys.argv[1], dtype="int16")
with av.open(sys.argv[1]) as file:
    codec = file.streams.audio[0].codec_context.name
    decoded = numpy.concatenate([frame.to_ndarray()[0] for frame in file.decode(audio=0)])
print("magic:", open(sys.argv[1], "rb").read(4).decode(), "| av", av.__version__, "| soundfile", soundfile.__version__)
print("written:  ", tone[1:6].tolist())
print("soundfile:", right[1:6].tolist())
print("FFmpeg:   ", decoded[1:6].tolist(), f"({codec}, {len(decoded)} samples)")
swapped = len(decoded) == len(tone) and (decoded == tone.byteswap()).all()
sys.exit(0 if (right == tone).all() and swapped else 1)
PROGRAM
"$folder/venv/bin/python" "$folder/program.py" "$folder/tone.wav"
# Seen on 2026-11-29:
# magic: RIFX | av 18.1.0 | soundfile 0.14.0
# written:   [798, 1589, 2364, 3115, 3835]
# soundfile: [798, 1589, 2364, 3115, 3835]
# FFmpeg:    [7683, 13574, 15369, 11020, -1266] (pcm_s16le, 8000 samples)
