import subprocess
import sys

import librosa
import numpy as np
import pytest
import torch

from asc.audio.torchaudio_compat import melscale_fbanks, resample

# Makes the import of one module fail like a shared library with missing dependencies.
BREAK = """
import importlib.abc, sys
class Broken(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == {name!r}:
            raise OSError("could not load this library")
sys.meta_path.insert(0, Broken())
"""


def _run(script: str) -> str:
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_torchaudio_works_without_its_native_part():
    script = BREAK.format(name="torchaudio._extension") + (
        "import torch\n"
        "from asc.audio.torchaudio_compat import resample\n"
        "print(tuple(resample(torch.zeros(2, 100), 20, 23).shape))\n"
        "import torchaudio\n"
        "speeder = torchaudio.transforms.SpeedPerturbation(2000, [1.15])\n"
        "print(tuple(speeder(torch.zeros(1, 2300))[0].shape))"
    )
    assert _run(script).splitlines() == ["(2, 115)", "(1, 2000)"]


def test_another_broken_part_is_reported_and_leaves_nothing_half_imported():
    script = BREAK.format(name="torchaudio.functional") + (
        "import torch\n"
        "from asc.audio.torchaudio_compat import resample\n"
        "try:\n"
        "    resample(torch.zeros(2, 100), 20, 23)\n"
        "except OSError as error:\n"
        "    print(error, [name for name in sys.modules if name.startswith('torchaudio')])"
    )
    assert _run(script) == "could not load this library []"


def test_importing_the_module_does_not_import_torchaudio():
    assert _run("import sys, asc.audio.torchaudio_compat; print('torchaudio' in sys.modules)") == "False"


@pytest.mark.parametrize(("old", "new"), [(44_100, 16_000), (16_000, 44_100), (20, 23)])
def test_resampling_keeps_a_tone(old, new):
    seconds = 44_100 / old
    tone = torch.sin(2 * torch.pi * 0.05 * old * torch.arange(round(old * seconds)) / old)
    resampled = resample(tone[None], old, new)[0]
    expected = torch.sin(2 * torch.pi * 0.05 * old * torch.arange(len(resampled)) / new)
    inner = slice(200, len(resampled) - 200)
    torch.testing.assert_close(resampled[inner], expected[inner], atol=4e-3, rtol=0)


def test_mel_filters_equal_librosa():
    filters = melscale_fbanks(2049, 128, f_min=0.0, f_max=22_050.0, sample_rate=44_100, norm=None, mel_scale="slaney")
    expected = librosa.filters.mel(sr=44_100, n_fft=4096, n_mels=128, htk=False, norm=None)
    np.testing.assert_allclose(filters.numpy().T, expected, atol=2e-5)
