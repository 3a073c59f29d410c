"""Export a trained model to the formats of other runtimes, and check each file against the model on real clips.

python launch/export.py runs/NAME/best/model.safetensors
python launch/export.py runs/NAME/best/model.safetensors --to executorch
python launch/export.py runs/NAME/best/model.safetensors --to litert c-array --seconds 1
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from asc.console import cli
from asc.run_files import MODEL_CARD


@dataclass(frozen=True, kw_only=True)
class Options:
    """Write a stored network as ONNX, ExecuTorch, LiteRT or C source.

    An export is written only if it passes its gate: on real clips its logits must agree with those of the network. The
    gate's figures, the size and the speed are printed, and written beside each file as NAME.json. ONNX needs nothing
    more. The others each need an extra, in its own environment: pip install -e ".[executorch]" or ".[litert]".
    """

    model: Annotated[Path, tyro.conf.Positional]
    """A model file, or the NAME of a run in runs/ (its best network), or one of its trials, such as NAME/t005."""
    to: tuple[Literal["onnx", "executorch", "litert", "c-array"], ...] = ("onnx",)
    """onnx: model.onnx, which takes log-mel, and model-waveform.onnx, which has the front end inside; clips of any
    length. executorch: model.pte for XNNPACK; clips of up to --seconds. litert: model.tflite; clips of --seconds
    exactly. c-array: that file as model_data.c and .h for TFLite Micro; 8-bit networks only."""
    compact: bool = False
    """Write ONNX with functions, which saves some 5 KB, but only onnxruntime can run it."""
    data: Annotated[str | None, cli.option("SPEC")] = None
    """Data to check on, with any labels; by default those that the model was trained on. The test fold is not read."""
    group_from: Annotated[str | None, cli.option("REGEX")] = None
    """Finds the sources of other --data in file names; by default as in training, if those data are of the same kind.
    none: every file is its own source."""
    clips: int = 200
    """Number of clips to check on; if there are fewer, all."""
    seconds: float = 10.0
    """Length of the timed clip, of the clips that LiteRT takes, and of the longest clip that ExecuTorch takes."""
    output: Annotated[Path | None, cli.option("DIR")] = None
    """Folder for the files; by default export/ beside the model. Files of an earlier export are replaced."""
    cache: Annotated[Path | None, cli.option("DIR")] = None
    """Folder for packed audio; by default $ASC_CACHE or ~/.cache/asc."""
    quiet: bool = False
    """Print no progress: only results, and what went wrong."""
    json: bool = False
    """Print one JSON object on standard output."""

    @property
    def folder(self) -> Path:
        """The folder to write the files to."""
        return self.output or self.model.parent / "export"


def main(options: Options) -> int:
    """Load the model, open the clips, build, check and write the exports, and print their figures."""
    from asc.console.output_folder import prepare
    from asc.console.progress import counting, packing
    from asc.console.sheet import as_table
    from asc.data.dataset import default_cache
    from asc.export import formats, job, record
    from asc.export.clips import open_clips
    from asc.model_file.artefact import load_model
    from asc.runs import named

    output = cli.Output(as_json=options.json, quiet=options.quiet)
    options = dataclasses.replace(options, model=named.model_file(options.model))
    network, info = load_model(options.model)
    formats.check(options.to, network, clips=options.clips, seconds=options.seconds)
    prepare(options.folder)
    with packing(output.progress) as bar:
        dataset = open_clips(
            info, options.data, group_from=options.group_from, cache=options.cache or default_cache(), progress=bar
        )
    try:
        passed = job.export_all(
            network,
            info,
            dataset,
            formats.makers(network, info, options.to, seconds=options.seconds, compact=options.compact),
            clips=options.clips,
            seconds=options.seconds,
            running=lambda name: counting(output.progress, f"building and checking {name}"),
        )
    except job.GateError as error:
        cli.complain(str(error))
        return cli.FAILED
    job.write_all(options.folder, passed, card=options.model.parent / MODEL_CARD)
    found = [each for _, every in passed for each in every]
    output.result(as_table(record.sheet(found)))
    output.result(record.legend(found))
    output.result(f"written to {options.folder}: {', '.join(each.file for each in found)}, each with its NAME.json")
    output.result(f"next: {record.next_step(found, options.folder)}")
    output.json({"output": str(options.folder), "exports": [record.tree(each) for each in found]})
    return cli.DONE


if __name__ == "__main__":
    cli.launch(main, Options)
