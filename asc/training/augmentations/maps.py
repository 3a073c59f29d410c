"""The changes to log-mel maps that are switched on: first styles are mixed, then stretches are masked."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from asc.config.experiment import Experiment
from asc.models.workers import ALONE, Workers
from asc.training.augmentations.draws import Draw, Uniform, chosen
from asc.training.augmentations.freq_mixstyle import style, styles_of_batch, with_style
from asc.training.augmentations.masking import masked


def changed_maps(
    log_mel: Tensor, experiment: Experiment, drawn: Mapping[Draw, Uniform], *, rows: int, workers: Workers = ALONE
) -> Tensor:
    """Change the maps (own rows, 1, bands, frames) of a batch of `rows` rows that `workers` share.

    `drawn` holds an array for each draw; its first values belong to this worker's rows.
    """
    own = {draw: numbers[: len(log_mel)] for draw, numbers in drawn.items()}
    augment, hop_s = experiment.augment, experiment.front_end.hop_s
    if Draw.STYLE in own:
        log_mel = _styled(log_mel, own, augment.freq_mixstyle_p, rows=rows, workers=workers)
    for dim, most, width, first in (
        (2, augment.frequency_mask_bands, Draw.BANDS_MASKED, Draw.FIRST_BAND_MASKED),
        (3, round(augment.time_mask_s / hop_s), Draw.FRAMES_MASKED, Draw.FIRST_FRAME_MASKED),
    ):
        if width in own:
            log_mel = masked(log_mel, width=own[width], first=own[first], most=most, dim=dim)
    return log_mel


def _styled(log_mel: Tensor, own: Mapping[Draw, Uniform], probability: float, *, rows: int, workers: Workers) -> Tensor:
    """Mix styles of the chosen rows with those half a batch away, which mixup's partners are not."""
    styles = style(log_mel)
    mine = np.arange(rows)[workers.slice_of(rows)]
    partners = torch.from_numpy((mine + rows // 2) % rows).to(log_mel.device)
    others = styles_of_batch(styles, rows, workers)[partners]
    picked = torch.from_numpy(chosen(own[Draw.STYLE], probability)).to(log_mel.device)
    weight = torch.from_numpy(own[Draw.STYLE_WEIGHT]).to(log_mel)
    return log_mel.index_copy(0, picked, with_style(log_mel[picked], styles[picked], others[picked], weight[picked]))
