"""The source of a clip's audio: a file, a file convolved with a device's response, or the synthetic generator."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from asc.audio.audio_file import decode_whole, inspect
from asc.audio.sound import Piece, resampled
from asc.data.impulse_response import Response
from asc.data.manifest import Clip, Manifest
from asc.data.synthetic.synthetic import SAMPLE_RATE_HZ, Synthetic


@dataclass(frozen=True, slots=True)
class FileSource:
    """A clip in a sound file."""

    path: Path

    @property
    def name(self) -> str:
        """The file, for error messages."""
        return str(self.path)

    @property
    def identity(self) -> str:
        """Path, size and modification time; differs if the audio may have changed."""
        try:
            status = self.path.stat()
        except OSError:
            return f"{self.path.absolute()} absent"
        return f"{self.path.absolute()} {status.st_size} {status.st_mtime_ns}"

    def samples(self, sample_rate_hz: int) -> int:
        """Length of `heard` in samples, from the header; raises AudioProblem like `audio_file.inspect`."""
        return inspect(self.path, sample_rate_hz)

    def heard(self, sample_rate_hz: int) -> Piece:
        """Decode to mono, (samples,) float32 at this rate; raises AudioProblem like `audio_file.decode_whole`."""
        return decode_whole(self.path, sample_rate_hz)


@dataclass(frozen=True, slots=True)
class SyntheticSource:
    """A generated clip."""

    synthetic: Synthetic
    name: str

    @property
    def identity(self) -> str:
        """The clip's name, and the generator's parameters and version."""
        return f"{self.name} {self.synthetic.identity}"

    def samples(self, sample_rate_hz: int) -> int:
        """Length of `heard` in samples."""
        return -(-self.synthetic.clip_samples * sample_rate_hz // SAMPLE_RATE_HZ)

    def heard(self, sample_rate_hz: int) -> Piece:
        """Generate mono, (samples,) float32 at this rate."""
        sound = resampled(self.synthetic.render(self.name), SAMPLE_RATE_HZ, sample_rate_hz)
        return Piece(sound=sound, peak=float(np.abs(sound).max()))


@dataclass(frozen=True, slots=True)
class DeviceSource:
    """A sound file as recorded by a simulated device."""

    recording: FileSource
    response: Response

    @property
    def name(self) -> str:
        """The file, for error messages; a faulty file affects all its copies."""
        return self.recording.name

    @property
    def identity(self) -> str:
        """The identities of the file and of the device's response."""
        return f"{self.recording.identity} through {self.response.identity}"

    def samples(self, sample_rate_hz: int) -> int:
        """Length of `heard` in samples, equal to the file's; raises AudioProblem like `audio_file.inspect`."""
        return self.recording.samples(sample_rate_hz)

    def heard(self, sample_rate_hz: int) -> Piece:
        """Decode and filter, mono, (samples,) float32 at this rate; raises AudioProblem like `decode_whole`."""
        recorded = self.recording.heard(sample_rate_hz)
        return replace(recorded, sound=self.response.heard(recorded.sound, sample_rate_hz))


Source = FileSource | DeviceSource | SyntheticSource


def sources_of(manifest: Manifest) -> tuple[Source, ...]:
    """The source of every clip, in the order of the manifest."""
    match manifest.source:
        case Synthetic() as synthetic:
            return tuple(SyntheticSource(synthetic, clip.path) for clip in manifest.clips)
        case folder:
            responses = {response.device: response for response in manifest.responses}
            return tuple(_file_source(folder, clip, responses) for clip in manifest.clips)


def _file_source(folder: Path, clip: Clip, responses: Mapping[str, Response]) -> FileSource | DeviceSource:
    if clip.copy_of is None:
        return FileSource(folder / clip.path)
    return DeviceSource(FileSource(folder / clip.copy_of), responses[clip.device])
