"""Every command of README and docs: run by tests/test_docs_commands.py, or listed here with the reason why not.

``RUN`` has the commands that are run, one after the other, in a folder of drawn scenes; ``Run.instead`` replaces words by smaller ones, and ``Run.more``
adds some. ``REASONS`` has patterns of those that are not run. A new command belongs to one of them.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

_FENCE = re.compile(r'^(?P<indent> *)```(?P<language>\w*)[^\n]*\n(?P<body>.*?)^(?P=indent)```', re.S | re.M)
_INDENTED = re.compile(r'(?:^    .*\n)+', re.M)
_STARTS = re.compile(
    r'(?:[A-Z_]+=\S+ )*(?:python|torchrun|bash|\./tools|\./benchmarks|benchmarks/|mmdet(?:-runtime)?|make|pip|uv|curl|hf) '
)


def pages(repository: Path) -> list[Path]:
    return sorted([repository / 'README.md', repository / 'CONTRIBUTING.md', *(repository / 'docs').rglob('*.md')])


def python_blocks(page: Path) -> list[str]:
    return [
        found['body'] for found in _FENCE.finditer(page.read_text(encoding='utf-8')) if found['language'] == 'python'
    ]


def commands(page: Path) -> Iterator[str]:
    """Commands of a page, each on one line without its comment: every line of a shell block, and in other code what looks like one."""
    text, rest = page.read_text(encoding='utf-8'), []
    for found in _FENCE.finditer(text):
        if found['language'] in ('shell', 'bash', 'sh', 'console'):
            yield from _lines(found['body'])
        elif found['language'] != 'python':
            rest.append(found['body'])
    rest += _INDENTED.findall(_FENCE.sub('', text))
    for body in rest:
        yield from (line for line in _lines(body) if _STARTS.match(line))


def _lines(body: str) -> Iterator[str]:
    for line in body.replace('\\\n', ' ').splitlines():
        line = re.sub(r'\s+', ' ', re.split(r'(?:^|\s)#\s', f'{line} ')[0]).strip().removeprefix('$ ')
        if line and not line.startswith('#'):
            yield line


@dataclass(frozen=True)
class Run:
    """A command that is run: as it stands, or with other words in place of some, and with more; not where the module that it ``needs`` is missing."""

    command: str
    instead: dict[str, str] = field(default_factory=dict)
    more: str = ''
    needs: str = ''


_DEMO = 'work_dirs/gfl_demo/epoch_9.pth'
_VAL = 'data/VisDrone2019-DET/VisDrone2019-DET-val'
_TRAIN = ' '.join(
    f'{split}_dataloader.{key}' for split in ('train', 'val') for key in ('num_workers=0', 'persistent_workers=False')
)
_TEST = 'test_dataloader.num_workers=0 test_dataloader.persistent_workers=False'
_SMALL = 'test_dataloader.dataset.pipeline.1.scale=(160,160)'
_SMALL_TRAIN = 'train_dataloader.dataset.pipeline.2.scale=(160,160) val_dataloader.dataset.pipeline.1.scale=(160,160)'
_SCENES = 'test_dataloader.dataset.datasets.1.generate=None'

RUN = [
    # Data in every format, from the scenes.
    Run('python tools/dataset_converters/convert.py data/BCCD data/bccd_yolo --to yolo --image-files link'),
    Run('python tools/dataset_converters/convert.py data/bccd_yolo data/bccd_coco --to coco'),
    Run('python tools/dataset_converters/convert.py data/bccd_yolo data/bccd_train.csv --to csv --split train'),
    Run(f'python tools/dataset_converters/convert.py {_VAL} data/visdrone_cars.json --to coco --classes car van truck bus'),
    Run(f'python tools/dataset_converters/convert.py {_VAL} data/VisDrone2019-DET/annotations/visdrone6_val.json --to coco '
        '--rename pedestrian=person people=person van=car --classes person bicycle car motor bus truck --rest crowd'),
    Run(f'python tools/dataset_converters/images.py {_VAL}/images data/images.json --classes visdrone'),
    Run('python UFPMP-Det-Tools/build_dataset/VisDrone2COCO.py $D/VisDrone2019-DET-$split/images $D/VisDrone2019-DET-$split/annotations '
        '$D/annotations/VisDrone2019-DET-$split.json', {'$D/': 'data/VisDrone2019-DET/', '$split': 'val'}),
    Run('python UFPMP-Det-Tools/build_dataset/VisDrone2COCO.py data/VisDrone2019-DET/VisDrone2019-DET-$split/images '
        'data/VisDrone2019-DET/VisDrone2019-DET-$split/annotations data/VisDrone2019-DET/annotations/VisDrone2019-DET-$split.json', {'$split': 'train'}),
    Run('python tools/misc/make_drone_scenes.py data/drone_scenes --num-train 400 --num-val 80 --preview grid.jpg',
        {'data/drone_scenes': 'data/other_scenes', '400': '1', '80': '1'}, '--workers 1 --size 192 160'),
    # The doctor.
    Run('python tools/dataset_doctor.py data/mine/annotations --out-dir work_dirs/doctor', more='--headers-only --workers 0'),
    Run('python tools/dataset_doctor.py train.json val.json', more='--headers-only --workers 0'),
    Run('python tools/dataset_doctor.py train.json photos', more='--headers-only --workers 0'),
    # Your own data.
    Run('python tools/train.py fine_tune.py --work-dir work_dirs/mine', more=f'--cfg-options {_TRAIN} {_SMALL_TRAIN}'),
    Run('python tools/test.py fine_tune.py work_dirs/mine/epoch_2.pth', more=f'--cfg-options {_TEST} {_SMALL}'),
    Run('''python tools/test.py fine_tune.py work_dirs/mine/epoch_2.pth --cfg-options "test_dataloader.dataset.metainfo.classes=('motorcycle','car','bus')"''', more=f'{_TEST} {_SMALL}'),
    Run('python tools/test.py both.py work_dirs/mine/epoch_2.pth --out work_dirs/both.pkl', more=f'--cfg-options {_TEST} {_SCENES}'),
    Run('python tools/analysis_tools/eval_metric.py both.py work_dirs/both.pkl', more=f'--cfg-options {_TEST} {_SCENES}'),
    Run('python tools/test.py CONFIG CKPT --eval bbox', {'CONFIG': 'fine_tune.py', 'CKPT': 'work_dirs/mine/epoch_2.pth'}, f'--cfg-options {_TEST} {_SMALL}'),
    # A detector of transformers.
    Run('python tools/train.py dfine_scenes.py --work-dir work_dirs/dfine_scenes', {}, f'--no-validate --cfg-options {_TRAIN} {_SMALL_TRAIN} '
        'train_dataloader.dataset.generate=None', needs='transformers'),
    Run('python tools/test.py dfine_scenes.py work_dirs/dfine_scenes/epoch_2.pth', {}, f'--cfg-options test_dataloader.dataset.generate=None {_TEST} {_SMALL}',
        needs='transformers'),
    Run('python tools/image_demo.py images/ dfine_scenes.py --weights work_dirs/dfine_scenes/epoch_2.pth --out-dir outputs', needs='transformers'),
    # A plug-in.
    Run('PYTHONPATH=. python tools/train.py my_config.py', more='--no-validate --cfg-options train_cfg.max_epochs=1 train_dataloader.dataset.generate=None '
        'train_dataloader.num_workers=0 train_dataloader.persistent_workers=False train_dataloader.dataset.pipeline.2.scale=(160,160)'),
    # Models and checkpoints.
    Run(f'python tools/image_demo.py images/ configs/demo/gfl_demo.py --weights {_DEMO} --out-dir outputs'),
    Run('python tools/model_converters/upgrade_checkpoint.py OLD.pth NEW.safetensors --config configs/gfl_r50_1x.py',
        {'OLD.pth': _DEMO, 'configs/gfl_r50_1x.py': 'configs/demo/gfl_demo.py'}),
    Run('python tools/model_converters/publish_model.py work_dirs/run/epoch_24.pth gfl_drone.pth', {'work_dirs/run/epoch_24.pth': _DEMO}),
    Run('python tools/model_converters/join_ufpmp.py work_dirs/nanodet_g_visdrone6.pth work_dirs/nanodet_g_visdrone6.pth work_dirs/ufpmp_nanodet_g_visdrone6.pth',
        {'work_dirs/nanodet_g_visdrone6.pth': _DEMO}),
    Run('python tools/model_converters/upgrade_config.py gfocal_r50_fpn_ms2x.py new.py'),
    Run('python tools/misc/print_config.py configs/gfl/gfl_r50_fpn_1x_coco.py --save-path merged.json'),
    # A search.
    Run('python tools/search.py configs/tinynas/detection/demo_drone.py', more='--cfg-options search.num_random_nets=64 search.popu_size=16'),
    Run('python tools/train.py configs/demo/gfl_tinynas_demo.py --seed 0 --no-validate --cfg-options train_cfg.max_epochs=5 param_scheduler.1.end=5 '
        'param_scheduler.1.T_max=5 default_hooks.checkpoint.interval=5', {'=5': '=1'},
        'train_dataloader.dataset.pipeline.2.scale=(160,160) train_dataloader.dataset.generate=None train_dataloader.num_workers=0 train_dataloader.persistent_workers=False'),
    Run('python tools/test.py configs/demo/gfl_tinynas_demo.py work_dirs/gfl_tinynas_demo/epoch_5.pth --eval bbox', {'epoch_5': 'epoch_1'},
        f'--cfg-options test_dataloader.dataset.generate=None {_TEST} {_SMALL}'),
    Run('python tools/export.py configs/demo/gfl_tinynas_demo.py work_dirs/gfl_tinynas_demo/epoch_5.pth --to onnx --out exported/searched',
        {'epoch_5': 'epoch_1'}, f'--cfg-options model.test_cfg.score_thr=0 test_dataloader.dataset.generate=None {_TEST} {_SMALL}'),
    Run('python tools/analysis_tools/structure_info.py configs/tinynas/detection/models/maedet_s.json'),
]  # fmt: skip

# Pattern, found from the start of a command; reason. The first that fits counts.
REASONS = [
    (r'pip |uv |curl |hf |python -m venv |source |make install|cd |jupyter |echo .*(windows|opencv)', 'installs or fetches from a network'),
    (r'for \S+ in |done$|[A-Z]+=\S+$|[A-Z]+="|mkdir ', 'shell around the commands beside it'),
    (r'make (demo|test|lint|docs|dist)|python tools/misc/demo\.py', 'takes minutes, or is this suite; tests/tools/test_benchmark_demo.py runs the steps of the demo'),
    (r'(\w+=\S+ )*(bash |\./)?(\./)?tools/(dist|slurm)_|torchrun', 'several processes, machines or a cluster; tests/test_ddp.py'),
    (r'(\./)?benchmarks/|\./benchmarks|(\w+=\S+ )*python benchmarks/', 'a measurement of minutes or on a GPU; tests/benchmarks runs parts of each'),
    (r'python tools/benchmark\.py|mmdet benchmark', 'a measurement; tests/tools/test_benchmark_demo.py and tests/apis run the tool on a tiny model'),
    (r'mmdet-runtime|python exported/', 'needs an exported folder; tests/runtime and docs/notebooks run them'),
    (r'python tools/export\.py|mmdet export', 'exports take seconds each; tests/export and docs/notebooks run them'),
    (r'.*(UAVDT|UAV)', 'needs the data set UAVDT; tests/datasets run the converters on its annotations'),
    (r'.*work_dirs/(ufpmp|coarse|mp_det|maedet|gfl_tinynas)|python tools/image_demo\.py data/drone_scenes', 'needs the models that the page trains for minutes or hours'),
    (r'python UFPMP-Det-Tools/(build_dataset/UFP_|eval_script)', 'needs trained stages; tests/apis run the mosaic builder and the evaluation'),
    (r'python tools/(train|test)\.py configs/(?!demo/)', 'needs COCO, VisDrone, BCCD or published weights, and hours; tests/configs build every config'),
    (r'python tools/train\.py configs/demo/', 'trains for minutes; fine_tune.py above is a training of the same model'),
    (r'python tools/test\.py configs/demo/', 'tests on 80 scenes that take a minute to draw; fine_tune.py above is a test of the same model'),
    (r'python tools/(train|test)\.py gfocal_r50_fpn_ms2x\.py', 'needs COCO; tests/config read old configs, and the test above translates one'),
    (r'python tools/search\.py', 'a search of minutes; the search of the tutorial is run'),
    (r'python (- |-c |-m mmdet\.nas\.latency|-m mmdet_runtime)|OMP_NUM_THREADS=1 python - ', 'needs what the page describes: a GPU, the weights of a model, or minutes'),
    (r'python tools/model_converters/(upgrade_checkpoint|join_ufpmp)', 'needs published weights; the other command of the tool is run'),
    (r'python tools/(image_demo|video_demo)\.py', 'needs a video, a GeoTIFF or a backend; tests/apis run them on drawn ones'),
    (r'python tools/misc/(make_report|replay_loss|print_config)', 'needs a finished run; tests/visualization and tests/engine'),
    (r'python tools/analysis_tools/', 'needs predictions or logs of a trained model; tests/analysis and tests/evaluation run the tools'),
    (r'python tools/dataset_converters/(pascal_voc|convert)\.py|python tools/dataset_doctor\.py configs|ln -s|python tools/(train|test)\.py configs/bccd', 'needs the data set BCCD; tests/datasets'),
    (r'python tools/test\.py|python tools/train\.py (CONFIG|reference_layout)', 'stands for any config; with fine_tune.py it is run'),
    (r'python tools/misc/make_model_zoo', 'writes a page of the documentation; its test compares the page with the index'),
    (r'python tools/misc/make_drone_scenes\.py data/drone_videos', 'draws videos for a minute; tests/datasets draw a short one'),
    (r'--line NAME', 'a synopsis of options'),
    (r'pre-commit ', 'changes the checkout'),
    (r'mmdet (web|demo|video|track)', 'runs until it is stopped, or for minutes'),
    (r'mmdet |python -m mmdet', 'the same functions as the scripts above; tests/commands run them'),
]  # fmt: skip
