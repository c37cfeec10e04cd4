"""Train a detector of a drone config for a given time from random weights: speed, loss curve, AP; and whether a resume is exact.

    python benchmarks/training.py CONFIG --data DATA [--train-seconds 60] [--batch-size 8] [--mosaics] [--cfg-options ...]
    python benchmarks/training.py CONFIG --data DATA --check-resume

DATA is a folder as sample_data.py makes it. --mosaics packs its images first, with the annotations in place of a coarse detector's boxes,
for the configs of MP-Det. Precision is bf16. The AP is that of a short training: it shows that the pieces fit, not what the model gives.

--check-resume runs ``tools/train.py --deterministic`` three times on a few batches: unbroken, stopped in the middle, and resumed from there;
weights, optimizer and schedulers must come out equal, bit by bit.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch
from kill_resume import last_checkpoint, same_checkpoint
from measuring import Rows, add_row_arguments
from mmengine.config import Config, DictAction
from mmengine.hooks import Hook
from mmengine.structures import InstanceData

from mmdet.apis.training import configure_training
from mmdet.datasets.converters import MosaicBuilder
from mmdet.engine import DetRunner
from mmdet.utils import load_config, register_all_modules

REPOSITORY = Path(__file__).resolve().parents[1]
CURVE_POINTS = 20


class TimedStop(Hook):
    """Stops an iteration-based training at a point of time; keeps losses and the times of the iterations.

    Args:
        seconds: from the first iteration on.
    """

    priority = 'LOWEST'

    def __init__(self, seconds: float):
        self.seconds = seconds
        self.losses: list[float] = []
        self.ends: list[float] = []
        self.start: float | None = None

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        self.start = self.start or time.perf_counter()

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        self.losses.append(float(outputs['loss']))  # waits for the device
        self.ends.append(time.perf_counter())
        if self.ends[-1] - self.start > self.seconds:
            runner.train_loop.stop_training = True

    def curve(self) -> list[list[float]]:
        """Iteration and mean loss, at most 20 points."""
        step = max(1, -(-len(self.losses) // CURVE_POINTS))
        return [[i + 1, round(statistics.mean(self.losses[i : i + step]), 4)] for i in range(0, len(self.losses), step)]


def training_config(args: argparse.Namespace, work_dir: Path) -> Config:
    """The config with this benchmark's data, batch size and precision, and without pretrained weights."""
    cfg = load_config(args.config, args.cfg_options)
    text = json.dumps(cfg.to_dict())
    cfg = Config(json.loads(text.replace(json.dumps(cfg.data_root)[1:-1], json.dumps(f'{args.data}/')[1:-1])))
    cfg.model.backbone.update(init_cfg=None, frozen_stages=-1, norm_eval=False)
    cfg.train_dataloader.update(
        batch_size=args.batch_size, num_workers=args.workers, persistent_workers=args.workers > 0
    )
    for loader in (cfg.val_dataloader, cfg.test_dataloader):
        loader.update(num_workers=min(args.workers, 2), persistent_workers=args.workers > 0)
    cfg.optim_wrapper.update(type='AmpOptimWrapper', dtype='bfloat16')
    cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=10**6, val_interval=10**6)
    cfg.param_scheduler = [dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=50)]
    cfg.default_hooks.checkpoint.update(interval=10**6, by_epoch=False, save_last=False)
    cfg.vis_backends = cfg.visualizer.vis_backends = []
    return configure_training(cfg, work_dir=str(work_dir), validate=False, seed=0)


def make_mosaics(data: Path) -> None:
    """Mosaics of both splits, of the annotated boxes."""
    for split in ('train', 'val'):
        name = f'VisDrone2019-DET-{split}'
        annotations = data / 'annotations' / f'{name}.json'
        builder = MosaicBuilder(
            annotations, data / name / 'images', data / f'{name}-ufp', annotations.with_name(f'{name}-ufp.json')
        )
        builder.start(restart=True)
        builder.run(TruthStage(annotations, builder))
        print(builder.join())


class TruthStage:
    """Answers the images of a mosaic builder, in its order, with their annotated boxes."""

    def __init__(self, annotations: Path, builder: MosaicBuilder):
        document = json.loads(annotations.read_text(encoding='utf-8'))
        boxes = {image['id']: [] for image in document['images']}
        for row in document['annotations']:
            x, y, w, h = row['bbox']
            boxes[row['image_id']].append((row['category_id'], x, y, x + w, y + h))
        self.answers = iter([sorted(boxes[image.id]) for group in builder.pending() for image in group])

    def __call__(self, images: list) -> list[InstanceData]:
        truths = [torch.tensor(next(self.answers), dtype=torch.float32).reshape(-1, 5) for _ in images]
        return [InstanceData(bboxes=t[:, 1:], labels=t[:, 0].long(), scores=torch.ones(len(t))) for t in truths]


def train(args: argparse.Namespace, rows: Rows) -> None:
    """Train for the time given, then test."""
    if args.mosaics:
        make_mosaics(args.data)
    name = Path(args.config).stem
    with rows.attempt('training', name):
        cfg = training_config(args, args.data / 'work' / name)
        runner = DetRunner.from_cfg(cfg)
        stop = TimedStop(args.train_seconds)
        runner.register_hook(stop)
        runner.train()
        steps = [end - begin for begin, end in zip(stop.ends, stop.ends[1:])]
        figures = dict(
            iterations=len(stop.losses), batch_size=args.batch_size,
            images_s=args.batch_size / statistics.median(steps) if steps else None,
            first_loss=stop.losses[0], last_loss=stop.curve()[-1][1], loss_curve=stop.curve(),
        )  # fmt: skip
        if torch.cuda.is_available():
            figures['peak_mb'] = torch.cuda.max_memory_allocated() / 2**20
        rows.add('training', name, **figures)
        metrics = {key.split('/')[-1]: float(value) for key, value in runner.test().items()}
        scores = {key: value for key, value in metrics.items() if key in ('AP', 'AP50', 'bbox_mAP', 'bbox_mAP_50')}
        rows.add('training', name, **figures, **scores)


def check_resume(args: argparse.Namespace, rows: Rows) -> None:
    """Six iterations at once against three, a stop, and three more."""
    with rows.attempt('resume', Path(args.config).stem):
        folder = args.data / 'resume'
        cfg = training_config(args, folder)
        cfg.train_cfg.max_iters = 6
        cfg.default_hooks.checkpoint.update(interval=3)
        folder.mkdir(parents=True, exist_ok=True)
        config = folder / f'{Path(args.config).stem}.py'
        cfg.dump(str(config))
        run_training(config, folder / 'unbroken')
        run_training(config, folder / 'resumed', 'train_cfg.max_iters=3')
        run_training(config, folder / 'resumed', resume=True)
        equal = same_checkpoint(last_checkpoint(folder / 'unbroken'), last_checkpoint(folder / 'resumed'))
        rows.add('resume', Path(args.config).stem, equal_bit_by_bit=equal)


def run_training(config: Path, work_dir: Path, *options: str, resume: bool = False) -> None:
    """One ``tools/train.py --deterministic``.

    Raises:
        RuntimeError: it failed; with the end of its output.
    """
    command = [sys.executable, str(REPOSITORY / 'tools' / 'train.py'), str(config), '--work-dir', str(work_dir), '--deterministic', '--no-validate']  # fmt: skip
    command += ['--resume'] if resume else []
    command += ['--cfg-options', *options] if options else []
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f'{" ".join(command[1:])} ended with {done.returncode}:\n{(done.stdout + done.stderr)[-3000:]}')  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config')
    parser.add_argument('--data', type=Path, required=True)
    parser.add_argument('--train-seconds', type=float, default=60)
    parser.add_argument('--batch-size', type=int, default=8)
    parser.add_argument('--workers', type=int, default=4)
    parser.add_argument('--mosaics', action='store_true')
    parser.add_argument('--check-resume', action='store_true')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='overrides of the config')
    add_row_arguments(parser)
    args = parser.parse_args()
    args.data = args.data.resolve()
    register_all_modules()
    (check_resume if args.check_resume else train)(args, Rows(args.rows, args.seconds))


if __name__ == '__main__':
    main()
