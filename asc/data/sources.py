"""Where the audio of a clip comes from: a file, a file heard through a device, or the synthetic generator."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from asc.audio.audio_file import Piece, decode_whole, inspect, resampled
from asc.data.impulse_response import Response
from asc.data.manifest import Clip, Manifest
from asc.data.synthetic.synthetic import SAMPLE_RATE_HZ, Synthetic


@dataclass(frozen=True, slots=True)
class FileSource:
    """A clip in a sound file."""

    path: Path

    @property
    def name(self) -> str:
        """The file, for errors."""
        return str(self.path)

    @property
    def identity(self) -> str:
        """Path, size and time of the last change: another text when the file may hold other audio."""
        try:
            status = self.path.stat()
        except OSError:
            return f"{self.path.absolute()} absent"
        return f"{self.path.absolute()} {status.st_size} {status.st_mtime_ns}"

    def samples(self, sample_rate_hz: int) -> int:
        """Samples that `heard` will have, from the header; raises AudioProblem as `audio_file.inspect`."""
        return inspect(self.path, sample_rate_hz)

    def heard(self, sample_rate_hz: int) -> Piece:
        """Mono, (samples,) at this rate; raises AudioProblem as `audio_file.decode`."""
        return decode_whole(self.path, sample_rate_hz)


@dataclass(frozen=True, slots=True)
class SyntheticSource:
    """A clip that is generated."""

    synthetic: Synthetic
    name: str

    @property
    def identity(self) -> str:
        """The clip and the generator's parameters and version."""
        return f"{self.name} {self.synthetic.identity}"

    def samples(self, sample_rate_hz: int) -> int:
        """Samples that `heard` will have."""
        return -(-self.synthetic.clip_samples * sample_rate_hz // SAMPLE_RATE_HZ)

    def heard(self, sample_rate_hz: int) -> Piece:
        """Mono, (samples,) at this rate."""
        sound = resampled(self.synthetic.render(self.name), SAMPLE_RATE_HZ, sample_rate_hz)
        return Piece(sound=sound, peak=float(np.abs(sound).max()))


@dataclass(frozen=True, slots=True)
class DeviceSource:
    """A sound file as a device hears it."""

    recording: FileSource
    response: Response

    @property
    def name(self) -> str:
        """The file, for errors: what is wrong with it is wrong with all its copies."""
        return self.recording.name

    @property
    def identity(self) -> str:
        """The file's and the device's."""
        return f"{self.recording.identity} through {self.response.identity}"

    def samples(self, sample_rate_hz: int) -> int:
        """Samples that `heard` will have, the file's own; raises AudioProblem as `audio_file.inspect`."""
        return self.recording.samples(sample_rate_hz)

    def heard(self, sample_rate_hz: int) -> Piece:
        """Mono, (samples,) at this rate; raises AudioProblem as `audio_file.decode`."""
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
