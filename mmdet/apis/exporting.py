"""Exporting a detector with its weights as a folder that runs without torch, and comparing the two on real images."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ..export.folder import (
    REJECTED,
    new_folder,
    put_in_place,
    refuse_foreign_folder,
    sha256_of,
    versions,
    write_manifest,
)
from ..export.networks import write_network
from ..export.parity import Parity, metrics_table
from ..export.plan import make_plan, settings_for
from ..export.settings import ExportSettings, check_settings, config_for
from ..export.winograd import count_layers
from .building import init_detector, read_config
from .export_comparison import average_precision, compare_detections, fixed_size
from .export_images import calibration_images, check_images, recorded_inputs
from .known_models import config_by_name


@dataclass
class ExportedDetector:
    """What :func:`export_detector` wrote.

    Attributes:
        folder: the export; of one that failed its check, ``<out>_rejected``.
        manifest: its manifest.
        parity: figures of the check.
        before, after: metrics of the detector and of its export; empty where there is no ground truth, or the precision is fp32 and none was given.
    """

    folder: Path
    manifest: dict[str, Any]
    parity: Parity
    before: dict[str, float] = field(default_factory=dict)
    after: dict[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [f'{name}: {", ".join(entry["sha256"])} ({entry["to"]}, {entry["precision"]}, {entry["outputs"]})' for name, entry in self.manifest['networks'].items()]  # fmt: skip
        lines.append(str(self.parity))
        if self.before:
            lines += [f'{"":<28} {"before":>7} {"after":>7} {"change":>7}', *metrics_table(self.before, self.after)]
        verdict = 'written' if self.parity.passed else 'kept for a look, not for use'
        return '\n'.join([*lines, f'{verdict}: {self.folder}'])


def export_detector(
    config: str | Path | Config,
    checkpoint: str | None,
    out: str | Path,
    settings: ExportSettings,
    *,
    cfg_options: dict | None = None,
    trust_checkpoint: bool = False,
    log: Callable[[str], None] = print,
) -> ExportedDetector:
    """Export a detector, single or composite, and check the result on images.

    Args:
        config: a config, its path, or a known name.
        checkpoint: its weights, those of the average where training kept one; None for a composite detector whose config names them.
        out: folder to write; an earlier export in it is replaced. If the check fails, the export is at ``<out>_rejected`` instead, and ``out`` is as it was.
        settings: how.
        cfg_options: overrides of the config.
        trust_checkpoint: unpickle arbitrary objects of the checkpoint; only for files of your own.
        log: called with lines on what is done.

    Raises:
        ConfigError: settings that do not go together, a detector or test pipeline that cannot be exported, a missing package, or a folder with
            other contents.
        CheckpointError, DataError: weights or images cannot be read.
    """
    out = Path(out)
    check_settings(settings)
    for folder in (out, _rejected(out)):
        refuse_foreign_folder(folder)
    if isinstance(config, str):
        config = config_by_name(config)
    cfg = config_for(read_config(config, cfg_options), settings, log)
    model = init_detector(
        cfg, checkpoint, device='cpu', trust_checkpoint=trust_checkpoint, random_weights=settings.random_weights
    )
    settings = settings_for(model, settings, log)
    plan = make_plan(model, cfg, settings, log)
    if settings.winograd:
        log(f'fewer multiplications (Winograd): {count_layers(plan.detectors)}')
    images, source = check_images(cfg, settings, log)
    calibration = (
        calibration_images(cfg, settings.calibration, settings.calibration_images)
        if settings.precision == 'int8'
        else []
    )
    with new_folder(out) as folder, fixed_size(model, plan, settings):
        with recorded_inputs(model, plan, cfg, calibration, folder, settings) as recorded:
            networks = {name: write_network(plan, name, folder, settings, recorded[name]) for name in plan.graphs}
        name = None if checkpoint is None else Path(checkpoint)
        origin = dict(config=str(getattr(cfg, 'filename', None) or 'config'), checkpoint=name and str(name),
                      sha256=sha256_of(name) if name is not None and name.is_file() else None)  # fmt: skip
        content = dict(
            kind=plan.kind, classes=list(model.dataset_meta['classes']), networks=networks, stages=plan.stages,
            composite=plan.composite, versions=versions(settings.to), source=origin,
        )  # fmt: skip
        write_manifest(folder, content)
        parity = compare_detections(model, cfg, folder, networks, plan.graphs, images, source)
        content['parity'] = parity.as_dict()
        wanted = settings.ap_images if settings.measures_ap else 0
        before, after = average_precision(model, cfg, folder, wanted, log)
        if before:
            content['metrics'] = dict(before=before, after=after)
        manifest = write_manifest(folder, content)
        written = put_in_place(folder, out if parity.passed else _rejected(out))
    return ExportedDetector(written, manifest, parity, before, after)


def _rejected(out: Path) -> Path:
    return out.with_name(f'{out.name}{REJECTED}')
