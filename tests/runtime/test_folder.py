"""What is checked of an exported folder before anything runs."""

import json

import pytest

from mmdet_runtime.errors import CheckpointError
from mmdet_runtime.folder import read_folder

from .tiny import CLASSES, stage, write_folder


def test_a_good_folder(tmp_path):
    folder = read_folder(write_folder(tmp_path))
    assert (folder.kind, folder.classes, folder.composite) == ('detector', tuple(CLASSES), {})
    assert read_folder(tmp_path / 'manifest.json').stages == {'detector': stage()}


def test_no_folder_and_no_manifest(tmp_path):
    for path, message in ((tmp_path / 'x', 'x: no such folder'), (tmp_path, 'the folder has no manifest.json')):
        with pytest.raises(CheckpointError, match=message):
            read_folder(path)
    (tmp_path / 'manifest.json').write_text('{"format":')
    with pytest.raises(CheckpointError, match=r'manifest\.json: cannot be read as JSON'):
        read_folder(tmp_path)


MISSING = object()


@pytest.mark.parametrize(
    ('where', 'value', 'message'),
    [
        ('format', 'onnx', "format: must be 'mmdet-runtime'"),
        ('version', 2, 'version: this runtime reads version 1; a newer one is needed. Received: 2'),
        ('version', None, 'version: this runtime reads version 1. Received: None'),
        ('kind', 'TwoStage', 'kind: must be one of'),
        ('classes', [], 'classes: must be a list of names'),
        ('networks', {}, 'networks: must be an object of objects'),
        ('networks.network.outputs', 'masks', 'networks.network.outputs: must be one of'),
        ('networks.network.outputs', 'raw', "this runtime takes 'candidates' or 'boxes'"),
        ('networks.network.precision', MISSING, 'networks.network.precision: is missing; it must be one of'),
        ('networks.network.inputs', {'image': [1, 3, 0, None]}, 'networks.network.inputs: must be'),
        ('networks.network.file', 'other.onnx', 'has no entry for other.onnx'),
        ('networks.network.sha256', {'model.onnx': '0' * 64}, r'model\.onnx: is not the file that was exported'),
        ('networks.network.sha256', {'model.onnx': 'x'}, 'networks.network.sha256: must be'),
        ('stages', {'coarse': {}}, r"stages: of a detector must be \['detector'\]"),
        ('stages.detector.network', 'other', r"stages.detector.network: must be one of \['network'\]"),
        ('stages.detector.scales', [[0, 4]], 'stages.detector.scales: must be a list of'),
        ('stages.detector.batch_size', True, 'stages.detector.batch_size: must be an integer >= 1'),
        ('stages.detector.std', None, 'must both be null'),
        ('stages.detector.test_cfg.score_thr', float('nan'), 'cannot be read as JSON .NaN is no JSON'),
        ('stages.detector.test_cfg.score_thr', '0.3', 'stages.detector.test_cfg.score_thr: must be a number'),
        ('stages.detector.test_cfg.max_per_img', 1.5, 'stages.detector.test_cfg.max_per_img: must be an integer'),
        ('stages.detector.test_cfg.nms', {'type': 'magic'}, 'stages.detector.test_cfg.nms: must be null, or an object'),
        ('stages.detector.max_zoom', -1, 'stages.detector.max_zoom: must be null or a number > 0'),
    ],
)
def test_wrong_fields(tmp_path, where, value, message):
    file = write_folder(tmp_path) / 'manifest.json'
    manifest = json.loads(file.read_text())
    entry, *names = manifest, *where.split('.')
    for name in names[:-1]:
        entry = entry[name]
    entry[names[-1]] = value
    if value is MISSING:
        del entry[names[-1]]
    file.write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError, match=message) as caught:
        read_folder(tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_files(tmp_path):
    model = write_folder(tmp_path) / 'model.onnx'
    model.write_bytes(model.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match=r'model\.onnx: is not the file that was exported: its SHA-256 differs'):
        read_folder(tmp_path)
    assert read_folder(tmp_path, verify=False).classes
    model.unlink()
    with pytest.raises(CheckpointError, match=r'model\.onnx: the file is missing or cannot be read'):
        read_folder(tmp_path, verify=False)


def test_views_need_candidates(tmp_path):
    write_folder(tmp_path, outputs='boxes', flip=True)
    with pytest.raises(CheckpointError, match="outputs: must be 'candidates' for stage detector"):
        read_folder(tmp_path)
