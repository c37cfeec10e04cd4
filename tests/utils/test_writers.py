"""Every place that writes: a full disk and a refused folder give one error that names the file, and leave older files as they were."""

import contextlib
import re
import resource
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.logging import MMLogger

import mmdet
from mmdet.analysis import analyze_errors, write_confusion_matrix, write_error_analysis
from mmdet.analysis.log_curves import write_curves
from mmdet.apis.composite_evaluation import EvaluationReport, write_reports
from mmdet.archs import load_structures, save_structures
from mmdet.datasets.converters.mosaic_journal import MosaicJournal
from mmdet.datasets.drone_scenes.dataset import generate_drone_scenes, write_preview
from mmdet.engine.checkpoint.converting import write_checkpoint
from mmdet.engine.checkpoint.saving import save_atomically, write_pointer
from mmdet.engine.console import report_failures
from mmdet.evaluation import Detections, DumpDetResults, GroundTruth
from mmdet.export import export_network
from mmdet.formats.images import write_image_file
from mmdet.formats.videos import VideoFile
from mmdet.formats.visdrone import write_result_files
from mmdet.nas.search.outputs import write_plot
from mmdet.utils import MMDetError
from mmdet.utils import files as writer
from mmdet.utils.outputs import OutputNames
from mmdet.visualization import write_image
from mmdet.visualization.report import write_report
from mmdet.visualization.vis_backend import LocalVisBackend

ROOT = Path(mmdet.__file__).resolve().parents[1]
NOISE = np.random.RandomState(0).randint(0, 255, (48, 64, 3), np.uint8)
STATE = dict(state_dict={'w': torch.rand(2000)}, meta={})
STRUCTURE = next(ROOT.glob('configs/tinynas/*/models/*.json'))
NOTHING = GroundTruth([0], [0], np.array([[0, 0, 9, 9.0]])), Detections([0], [0], np.array([[0, 0, 9, 9.0]]), score=[1])


def video(path):
    with VideoFile(path, 5, (64, 48)) as frames:
        for _ in range(20):
            frames.write(NOISE)


def dump(path):
    metric = DumpDetResults(str(path))
    metric.process(None, [dict(img_id=1, img_path='x' * 100, pred_instances=dict(bboxes=torch.zeros(1, 4), labels=torch.zeros(1).long(), scores=torch.ones(1)))])  # fmt: skip
    metric.compute_metrics(metric.results)


def journal(path):
    log = MosaicJournal(path.parent, {})
    with log.writer(0) as write:
        write(dict(id=1, text='x' * 100))


def names(path):
    OutputNames(path.parent, path).claim([('/' + 'x' * 100, 'x', ['{}.jpg'])])


def scalars(path):
    LocalVisBackend(str(path.parent)).add_scalars({f'loss_{i}': 0.1 for i in range(20)})


# File that is written -> how.
WRITERS = {
    'a.txt': lambda path: writer.write_text(path, 'x' * 100),
    'a.json': lambda path: writer.write_json(path, ['x' * 100]),
    'b.pkl': dump,
    'd.py': lambda path: writer.write_config(path, Config(dict(model=dict(type='x' * 100)))),
    'd.yaml': lambda path: writer.write_config(path, Config(dict(model=dict(type='x' * 100)))),
    'epoch_1.pth': lambda path: save_atomically(STATE, path),
    'last_checkpoint': lambda path: write_pointer(path.parent, '/' + 'x' * 100),
    'plain.pth': lambda path: write_checkpoint(STATE, path),
    'plain.safetensors': lambda path: write_checkpoint(STATE, path),
    'torch.pth': lambda path: writer.write_atomically(path, lambda file: torch.save(STATE, file)),
    'e.png': lambda path: write_image(path, NOISE),
    'e.jpg': lambda path: write_image_file(path, NOISE, 90),
    'preview.jpg': write_preview,
    'f.mp4': video,
    '0000.jsonl': journal,
    'sources.jsonl': names,
    'lines.json': lambda path: writer.append_line(path, 'x' * 100),
    'scalars.json': scalars,
    'config.py': lambda path: LocalVisBackend(str(path.parent)).add_config(Config(dict(a='x' * 100))),
    'vis_image/v_1.png': lambda path: LocalVisBackend(str(path.parents[1])).add_image('v', NOISE, 1),
    'confusion_matrix.png': lambda path: write_confusion_matrix(np.eye(2), ['a'], path.parent),
    'error_analysis.json': lambda path: write_error_analysis(analyze_errors(*NOTHING, classes=['a'], num_images=1), path.parent),
    'curves.svg': lambda path: write_curves(path, [('a', [1, 2], [3, 4])], x_label='x'),
    'curves.png': lambda path: write_curves(path, [('a', [1, 2], [3, 4])], x_label='x'),
    'curves.pdf': lambda path: write_curves(path, [('a', [1, 2], [3, 4])], x_label='x'),
    'search.svg': lambda path: write_plot(path, [dict(evaluated=1, score=2)], {}, []),
    'structures.json': lambda path: save_structures(path, load_structures(STRUCTURE)),
    'net/': lambda path: export_network(STRUCTURE, path),
    'report.html': lambda path: write_report(None, path, curves={'train': {}, 'val': {}}),
    'figures.json': lambda path: write_reports(path, {'a': EvaluationReport({'x' * 100: 1.0})}, 'a'),
    'txt/x.txt': lambda path: write_result_files(path.parent, ['x'], Detections([0] * 9, [0] * 9, np.full((9, 4), 3.3), score=[0.5] * 9)),
    'scenes/': lambda path: generate_drone_scenes(path, num_train=1, num_val=0, size_wh=(160, 160), workers=1),
}  # fmt: skip


@contextlib.contextmanager
def full_disk(size=64):
    """No file may grow beyond ``size`` bytes; libraries in C meet that, too."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def content(folder):
    return {path: path.read_bytes() for path in folder.rglob('*') if path.is_file() and not path.name.endswith('.lock')}


@pytest.mark.parametrize('name', WRITERS)
def test_full_disk(tmp_path, name):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    if not name.endswith('/'):
        path.write_text('older\n')
    before = content(tmp_path)
    with pytest.raises(MMDetError) as caught, full_disk():
        WRITERS[name](path)
    assert str(caught.value).startswith(str(path.parent if name.endswith('/') else path)) and '\n' not in str(
        caught.value
    )
    assert 'could not be written (' in str(caught.value)
    after = content(tmp_path)
    assert after.items() >= before.items() and not [p for p in after if p.suffix == '.tmp' or '.tmp' in p.name]


@pytest.mark.parametrize('place', ['below a file', 'refused'])
@pytest.mark.parametrize('name', WRITERS)
def test_folders_that_cannot_be_written(tmp_path, name, place):
    (tmp_path / 'file').write_text('')
    folder = tmp_path / 'file/below' if place == 'below a file' else Path('/sys/no_such_folder')  # refused to root, too
    with pytest.raises(MMDetError) as caught:
        WRITERS[name](folder / name)
    assert str(caught.value).startswith(str(folder)) and '\n' not in str(caught.value)
    assert 'could not be written (' in str(caught.value) and not folder.exists()


def test_a_name_that_cannot_be_replaced(tmp_path, monkeypatch):
    """A folder that becomes read-only meanwhile: also the temporary file goes, where that is allowed."""

    def refused(*paths):
        raise PermissionError(13, 'Permission denied')

    (tmp_path / 'x.pth').write_text('older')
    monkeypatch.setattr('os.replace', refused)
    with pytest.raises(MMDetError, match=r'x\.pth: could not be written \(Permission denied\)'):
        save_atomically(STATE, tmp_path / 'x.pth')
    assert content(tmp_path) == {tmp_path / 'x.pth': b'older'}


def test_whole_lines_only(tmp_path):
    """What a full disk cuts off is taken back, and a line that a kill cut off is ended before the next."""
    path = tmp_path / 'x.jsonl'
    path.write_text('1\n"cut of')
    with writer.LineFile(path) as file:
        file.append('2')
        with full_disk(20), pytest.raises(MMDetError, match='File too large'):
            file.append('3' * 30)
        file.append('4')
    assert path.read_text() == '1\n"cut of\n2\n4\n'


def test_a_log_on_a_full_disk_costs_one_line(capsys):
    logger = MMLogger('full_disk', log_file='/dev/full')
    report_failures(logger)
    for _ in range(5):
        logger.info('x' * 100)
    complaint = '/dev/full: lines of the log could not be written ([Errno 28] No space left on device); the run goes on'
    assert [line for line in capsys.readouterr().err.splitlines() if 'xxx' not in line] == [complaint]


# Where files may be written by other means, and why.
ALLOWED = {
    'mmdet_runtime/files.py': 'the writer',
    'mmdet/export/demo.py': 'is copied into exported folders, which run without this package',
    'mmdet/config/config_files.py': 'YAML as text, which the writer writes',
    'mmdet/config/legacy/files.py': 'copies of configs in a temporary folder',
    'mmdet/datasets/drone_scenes/dataset.py': 'an empty lock file, and files of a folder that gets its name when all are written',
    'mmdet/apis/benchmark_rows.py': 'the messages of a process, in a temporary folder',
    'mmdet/apis/export_images.py': 'what calibrates a network, in a temporary folder',
    'mmdet/web/server.py': 'an uploaded video, in a temporary folder',
    'mmdet_runtime/outputs.py': 'a temporary file of the writer, open while rows come',
    'mmdet_runtime/videos.py': 'OpenCV writes to a temporary name of the writer',
}
_WRITES = re.compile(
    r"""open\([^)]*['"][wax]b?\+?b?['"]|\.write_text\(|\.write_bytes\(|imwrite\(|VideoWriter\(|np\.save|savetxt\(|tofile\(|to_csv\("""
    r"""|torch\.save\((?!.*\b(file|stream|buffer)\))|savefig\((?!.*\b(file|data)\b)|(json|pickle|yaml)\.dump\((?!.*\bfile\))|\.dump\(\w*path|cfg\.dump\("""
)


def test_one_writer():
    found = set()
    for folder in ('mmdet', 'mmdet_runtime', 'tools', 'UFPMP-Det-Tools'):
        for path in (ROOT / folder).rglob('*.py'):
            lines = path.read_text(encoding='utf-8').splitlines()
            found |= {path.relative_to(ROOT).as_posix() for line in lines if _WRITES.search(line)}
    assert found == set(ALLOWED)
