"""Every script reports what a user did wrong in one line on the error stream, without a traceback, and leaves with a status other than 0.

A script is in :data:`COMMANDS` with a command line that would do; each test replaces one of its files by something broken.
"""

import ast
import json
import os
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from mmdet.registry import MODELS
from mmdet.utils import load_config, reports_user_errors
from mmdet.utils.files import write_pickle
from tests import processes

from .tiny_project import REPOSITORY, environment, fresh_instances, load_script

TOOLS = sorted(
    path.relative_to(REPOSITORY).as_posix()
    for folder in ('tools', 'UFPMP-Det-Tools')
    for path in (REPOSITORY / folder).rglob('*.py')
)
_MOSAICS = 'CONFIG CHECKPOINT IMAGES ANN OUT/mosaics OUT/mosaics.json --device cpu --workers 1'
# Words in capitals are files of the fixture, OUT/x is a file to write. Those without a = before them are replaced, one at a time.
COMMANDS = {
    'UFPMP-Det-Tools/build_dataset/UAVDT2COCO.py': ['UAVDT OUT/uavdt.json --split train'],
    'UFPMP-Det-Tools/build_dataset/UFP_UAVDT2COCO.py': [_MOSAICS],
    'UFPMP-Det-Tools/build_dataset/UFP_VisDrone2COCO.py': [_MOSAICS],
    'UFPMP-Det-Tools/build_dataset/VisDrone2COCO.py': ['IMAGES TXT OUT/visdrone.json', '=IMAGES =TXT =OUT/visdrone.json --sizes SIZES'],
    'UFPMP-Det-Tools/eval_script/coco2VisDrone.py': ['ANN RESULTS_JSON OUT/txt', '=ANN RESULTS =OUT/txt'],
    'UFPMP-Det-Tools/eval_script/ufpmp_det_eval.py': [
        'CONFIG CHECKPOINT CONFIG =CHECKPOINT ANN IMAGES --device cpu --json OUT/figures.json'
    ],
    'tools/analysis_tools/analyze_logs.py': ['plot_curve LOG --keys loss --out OUT/curves.svg', 'cal_train_time LOG'],
    'tools/analysis_tools/analyze_results.py': ['CONFIG RESULTS OUT/shown'],
    'tools/analysis_tools/browse_dataset.py': ['CONFIG --output-dir OUT/browsed --not-show'],
    'tools/analysis_tools/coarse_errors.py': ['CONFIG RESULTS'],
    'tools/analysis_tools/coco_error_analysis.py': ['RESULTS_JSON OUT/errors --ann ANN'],
    'tools/analysis_tools/confusion_matrix.py': ['CONFIG RESULTS OUT/confusion'],
    'tools/analysis_tools/eval_metric.py': ['CONFIG RESULTS', '=CONFIG RESULTS_JSON', 'ANN =RESULTS_JSON'],
    'tools/analysis_tools/eval_tracking.py': ['TRACKS TRACK_RESULTS --json OUT/tracks.json', '=TRACKS --write-truth OUT/truth'],
    'tools/analysis_tools/eval_visdrone.py': ['TXT TXT_RESULTS --sizes SIZES --json OUT/scores.json', '=TXT =TXT_RESULTS --images IMAGES'],
    'tools/analysis_tools/export_results.py': ['ANN RESULTS OUT/exported.json --to coco', '=ANN RESULTS_JSON OUT/yolo --to yolo'],
    'tools/analysis_tools/get_flops.py': ['CONFIG --shape 64 --json OUT/flops.json'],
    'tools/analysis_tools/structure_info.py': ['STRUCTURE --json OUT/structure.json'],
    'tools/benchmark.py': ['CONFIG CHECKPOINT --device cpu --max-iter 2 --num-warmup 1 --json OUT/benchmark.json'],
    'tools/dataset_converters/convert.py': ['ANN OUT/voc --to voc', '=ANN OUT/converted.json --to coco', 'TXT =OUT/txt.csv --to csv --images IMAGES'],
    'tools/dataset_converters/images.py': ['IMAGES OUT/images.json --classes car'],
    'tools/dataset_converters/pascal_voc.py': ['VOC OUT/voc'],
    'tools/dataset_doctor.py': ['ANN =IMAGES --out-dir OUT/doctor', 'CONFIG --out-dir =OUT/doctor'],
    'tools/export.py': ['STRUCTURE OUT/exported', '=STRUCTURE OUT/exported --checkpoint CHECKPOINT'],
    'tools/image_demo.py': ['IMAGE CONFIG --weights CHECKPOINT --device cpu --out-dir OUT/demo'],
    'tools/misc/demo.py': ['--work-dir OUT/ufpmp_demo'],
    'tools/misc/make_drone_scenes.py': ['OUT/scenes --num-train 1 --num-val 1 --size 96 64 --workers 1'],
    'tools/misc/make_model_zoo.py': [],  # has no inputs
    'tools/misc/make_report.py': ['WORK_DIR --out OUT/report.html --metrics FIGURES --benchmark FIGURES --pictures IMAGES --comparisons IMAGES'],
    'tools/misc/print_config.py': ['CONFIG --save-path OUT/config.json'],
    'tools/misc/replay_loss.py': ['CHECKPOINT', '=STEP --config CONFIG'],
    'tools/model_converters/join_ufpmp.py': ['CHECKPOINT CHECKPOINT OUT/joined.pth'],
    'tools/model_converters/publish_model.py': ['CHECKPOINT OUT/published.pth'],
    'tools/model_converters/upgrade_checkpoint.py': ['CHECKPOINT OUT/upgraded.pth --config CONFIG'],
    'tools/model_converters/upgrade_config.py': ['OLD_CONFIG OUT/upgraded.py'],
    'tools/search.py': ['SEARCH_CONFIG --work-dir OUT/search'],
    'tools/test.py': ['CONFIG CHECKPOINT --work-dir OUT/test', '=CONFIG =CHECKPOINT --work-dir WORK --out OUT/results.pkl'],
    'tools/train.py': ['CONFIG --work-dir OUT/train', '=CONFIG --work-dir WORK --resume CHECKPOINT'],
    'tools/video_demo.py': ['VIDEO CONFIG CHECKPOINT --device cpu --out OUT/video.mp4'],
}  # fmt: skip
NOISE = bytes(np.random.RandomState(0).randint(0, 256, 300, dtype=np.uint8))
FOLDERS = ('IMAGES', 'TRACKS', 'TRACK_RESULTS', 'TXT', 'TXT_RESULTS', 'UAVDT', 'VOC', 'WORK_DIR')


def bad_values(word: str) -> dict[str, bytes | str | None]:
    """What a word of a command is replaced by: the content of a file, 'folder', or None for nothing at that path."""
    if word.startswith('OUT/'):
        return {'below a file': b''}
    if word in FOLDERS:
        return {'missing': None, 'a file': b'x'}
    values = {'missing': None, 'a folder': 'folder', 'empty': b'', 'noise': NOISE}
    if word in ('CONFIG', 'OLD_CONFIG', 'SEARCH_CONFIG'):
        values |= {'syntax error': b'a = (1\n', 'without keys': b'a = 1\n', 'raises': b'raise OSError(3, "x\\ny")\n'}
    if word in ('ANN', 'RESULTS_JSON', 'FIGURES', 'STRUCTURE'):
        values |= {
            'broken JSON': b'{"images": [',
            'a list': b'[3]',
            'deep': b'[' * 100_000,
            'digits': b'{"a": %s}' % (b'4' * 400),
        }
    if word == 'LOG':
        values |= {
            'a list for a step': b'{"loss": 1, "step": [1]}\n',
            'digits': b'{"loss": %s, "step": 1}\n' % (b'4' * 400),
        }
    if word in ('RESULTS', 'CHECKPOINT'):
        values |= {'runs code': b"cos\nsystem\n(S'exit 1'\ntR."}
    return values


CASES = [
    pytest.param(tool, command, position, kind, id=f'{tool}-{number}-{word}-{kind}'.replace(' ', '_'))
    for tool, commands in COMMANDS.items()
    for number, command in enumerate(commands)
    for position, word in enumerate(command.split())
    if (word.isupper() and word != 'WORK' and word[0] != '=') or word.startswith('OUT/')
    for kind in bad_values(word)
    if not (tool.endswith('print_config.py') and kind in ('empty', 'without keys'))  # configs like others
]


@pytest.fixture(scope='module')
def files(project, tmp_path_factory):
    """A path for each word in capitals."""
    folder = tmp_path_factory.mktemp('files')
    for name in (
        'txt',
        'results',
        'tracks/annotations',
        'track_results',
        'work_dir',
        'voc/Annotations',
        'voc/ImageSets/Main',
        'voc/JPEGImages',
        'uavdt/S1/img1',
        'uavdt/S1/gt',
    ):
        (folder / name).mkdir(parents=True)
    (folder / 'txt/val_0.txt').write_text('1,1,20,20,1,1,0,0\n30,30,9,9,0,0,0,0\n')
    (folder / 'results/val_0.txt').write_text('1,1,20,20,0.5,1,-1,-1\n')
    for name, row in (('tracks/annotations/s1.txt', '1,4,0,0'), ('track_results/s1.txt', '0.5,4,-1,-1')):
        (folder / name).write_text(f'1,1,20,20,9,9,{row}\n')
    (folder / 'sizes').write_text('val_0 64 64\n')
    (folder / 'log').write_text('{"loss": 1.5, "time": 0.5, "epoch": 1, "iter": 1, "step": 1}\n')
    (folder / 'figures').write_text('{"coco/bbox_mAP": 0.5}')
    (folder / 'old.py').write_text('model = dict(type="GFL")\ndata = dict()\n')
    (folder / 'voc/ImageSets/Main/train.txt').write_text('')
    image = np.zeros((64, 64, 3), np.uint8)
    cv2.imwrite(str(folder / 'image.png'), image)
    writer = cv2.VideoWriter(str(folder / 'video.avi'), cv2.VideoWriter_fourcc(*'MJPG'), 5, (64, 64))
    writer.write(image)
    writer.release()
    weights = MODELS.build(load_config(project.config).model).state_dict()
    torch.save(dict(state_dict=weights), folder / 'weights.pth')
    torch.save(dict(state_dict=weights, step=dict(batch=()), meta=dict()), folder / 'step.pth')
    predictions = dict(bboxes=torch.tensor([[1.0, 1, 20, 20]]), scores=torch.tensor([0.5]), labels=torch.tensor([0]))
    write_pickle(folder / 'results.pkl', [dict(img_id=100, pred_instances=predictions)])
    (folder / 'results.json').write_text(
        json.dumps([dict(image_id=100, category_id=5, bbox=[1, 1, 20, 20], score=0.5)])
    )
    return dict(
        ANN=project.folder / 'val.json',
        CHECKPOINT=folder / 'weights.pth',
        CONFIG=project.config,
        FIGURES=folder / 'figures',
        IMAGE=folder / 'image.png',
        IMAGES=project.folder / 'images',
        LOG=folder / 'log',
        OLD_CONFIG=folder / 'old.py',
        RESULTS=folder / 'results.pkl',
        RESULTS_JSON=folder / 'results.json',
        SEARCH_CONFIG=REPOSITORY / 'configs/tinynas/classification/R50_FLOPs.py',
        SIZES=folder / 'sizes',
        STEP=folder / 'step.pth',
        STRUCTURE=REPOSITORY / 'tests/data/maedet_s.json',
        TRACKS=folder / 'tracks',
        TRACK_RESULTS=folder / 'track_results',
        TXT=folder / 'txt',
        TXT_RESULTS=folder / 'results',
        UAVDT=folder / 'uavdt',
        VIDEO=folder / 'video.avi',
        VOC=folder / 'voc',
        WORK_DIR=folder / 'work_dir',
    )  # fmt: skip


def replaced(word: str, value: bytes | str | None, files: dict, folder: Path) -> Path:
    """The path of the broken thing."""
    path = folder / (f'bad{files[word].suffix}' if word in files else 'notes.txt')
    if value == 'folder':
        path.mkdir()
    elif value is not None:
        path.write_bytes(value)
    return path / f'new{Path(word).suffix}' if word.startswith('OUT/') else path


@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize(('tool', 'command', 'position', 'kind'), CASES)
def test_one_line(files, tmp_path, monkeypatch, capsys, tool, command, position, kind):
    words = command.split()
    plain = [word.removeprefix('=') for word in words]
    arguments = [files.get(word, tmp_path / word if word.startswith(('OUT/', 'WORK')) else word) for word in plain]
    arguments[position] = replaced(words[position], bad_values(words[position])[kind], files, tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, 'argv', [tool, *map(str, arguments)])
    monkeypatch.setenv('LOCAL_RANK', '0')
    with fresh_instances(), pytest.raises(SystemExit) as ended:
        load_script(REPOSITORY / tool).main()
    output = capsys.readouterr()
    assert ended.value.code not in (0, None)
    assert 'Traceback' not in output.out + output.err
    lines = [
        line for line in output.err.splitlines() if line.strip() and ', elapsed: ' not in line
    ]  # of a progress bar
    assert len(lines) == 1 and ': ' in lines[0], output.err


@pytest.mark.parametrize('tool', TOOLS)
def test_every_script_has_its_place_here(tool):
    """A new script must be decorated or run a command of the package, and have a command above."""
    text = (REPOSITORY / tool).read_text()
    functions = {node.name: node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)}
    if 'main' in functions:
        decorators = {getattr(decorator, 'id', None) for decorator in functions['main'].decorator_list}
        assert 'reports_user_errors' in decorators
    else:
        assert 'main = functools.partial(run, ' in text and 'sys.exit(main())' in text
    assert tool in COMMANDS


def test_interrupt(capsys, monkeypatch):
    monkeypatch.delenv('MMDET_TRACEBACK', raising=False)

    @reports_user_errors
    def main():
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 130 and capsys.readouterr().err == 'Stopped by SIGINT.\n'


def test_as_a_process(tmp_path):
    """Once as the shell sees it."""
    (tmp_path / 'broken.yaml').write_text('x: !!python/object/apply:os.mkdir [made]')
    done = processes.run_fresh(
        [REPOSITORY / 'tools/misc/print_config.py', 'broken.yaml'], cwd=tmp_path, env=environment()
    )
    assert done.returncode == 2 and done.stdout == '' and done.stderr.count('\n') == 1
    assert os.listdir(tmp_path) == ['broken.yaml']
