"""Composite folders through ``load``: both stages are the network of ``tiny``, which sees the largest red of what it is shown."""

import threading

import numpy as np
import pytest

from mmdet_runtime import load
from mmdet_runtime.errors import CheckpointError, ConfigError, ModelInputError

from .tiny import picture, stage, write_folder

pytest.importorskip('onnxruntime')


def folder(path, kind, stages, composite):
    return write_folder(path, manifest=dict(kind=kind, stages=stages, composite=composite))


def test_tiles_and_the_whole(tmp_path):
    made = folder(
        tmp_path, 'SlicedDet', dict(stage=stage(), whole=stage(scales=[[32, 32]])), dict(tile_wh=[32, 32], overlap=0.0)
    )
    image = picture(0, 64, 32)
    image[5, 40, 2] = 204  # in the second tile
    runtime = load(made)
    found = runtime(image)
    # Of the second tile, the whole of it and its quarter; the whole image is halved, which averages the red away to 51 / 255.
    assert [[*box] for box in found.bboxes[found.scores > 0.3].tolist()] == [[32, 0, 64, 32], [32, 0, 48, 16]]
    assert found.scores[:2].tolist() == pytest.approx([0.8, 0.4]) and found.scores[2] == pytest.approx(0.2, abs=0.002)
    assert [*runtime.clock.sizes['tiles']] == [2]
    assert {'stage network', 'whole network'} <= {*runtime.clock.times}


@pytest.mark.parametrize(
    ('kind', 'threads', 'cores', 'own'),
    [
        ('SlicedDet', 1, 2, True),
        ('SlicedDet', 2, 2, False),
        ('SlicedDet', None, 2, False),
        ('SlicedDet', 1, None, False),
        ('detector', 1, 2, False),
    ],
)
def test_a_thread_of_the_networks(tmp_path, monkeypatch, kind, threads, cores, own):
    """Where a core is free; it gives the same, raises what the network raises, and is gone after the block, also after an error."""
    monkeypatch.setattr('os.cpu_count', lambda: cores)
    sliced = kind == 'SlicedDet'
    made = folder(
        tmp_path, kind, {'stage' if sliced else 'detector': stage()}, dict(tile_wh=[64, 32]) if sliced else {}
    )
    runtime = load(made, threads=1)
    image, (network,) = picture(204, 64, 32), runtime.networks.values()
    expected, used = runtime(image), []
    run = network._run
    network._run = lambda feed: used.append(threading.current_thread().name) or run(feed)
    with pytest.raises(ModelInputError, match='takes'), runtime.own_thread(threads):
        assert runtime(image).bboxes.tolist() == expected.bboxes.tolist()
        network.run({})
    assert [name.startswith('network') for name in used] == [own]
    assert network.thread is None and not [one for one in threading.enumerate() if one.name.startswith('network')]


@pytest.mark.parametrize(
    ('kind', 'stages', 'settings', 'fields', 'scores'),
    [
        ('detector', ['detector'], {}, {}, [0.8, 0.4]),  # a folder without the entry
        ('detector', ['detector'], {}, dict(end_to_end=False), [0.8, 0.4]),
        ('detector', ['detector'], {}, dict(end_to_end=True), [0.8, 0.72, 0.4]),
        ('detector', ['detector'], {}, dict(end_to_end=True, test_cfg=dict(max_per_img=2)), [0.8, 0.72]),
        # The mirrored view has the quarter at the right; without settings of an NMS, views are merged all the same.
        ('detector', ['detector'], {}, dict(end_to_end=True, flip=True, test_cfg={}), [0.8, 0.72, 0.4, 0.4]),
        ('SlicedDet', ['stage'], dict(tile_wh=[64, 32]), dict(end_to_end=True), [0.8, 0.72, 0.4]),
        ('SlicedDet', ['stage', 'whole'], dict(tile_wh=[64, 32]), dict(end_to_end=True), [0.8, 0.72, 0.4]),
        ('SlicedDet', ['stage'], dict(tile_wh=[64, 32]), {}, [0.8, 0.4]),
    ],
)
def test_networks_that_need_no_nms(tmp_path, kind, stages, settings, fields, scores):
    made = folder(tmp_path, kind, {name: stage(**fields) for name in stages}, settings)
    assert load(made)(picture(204, 64, 32)).scores.tolist() == pytest.approx(scores, abs=1e-3)


@pytest.mark.parametrize('mosaic', [None, 'rounded', 'direct'])
def test_a_second_look(tmp_path, mosaic):
    stages = dict(coarse=stage(), fine=stage(scales=[[256, 256]]))
    made = folder(tmp_path, 'UFPMPDet', stages, dict(ufp=dict(scale=1.0), max_per_img=5))
    runtime = load(made, mosaic=mosaic)
    found, nothing = runtime([picture(204, 64, 48), picture(0, 64, 48)])
    assert len(nothing) == 0 and len(found) > 0
    np.testing.assert_allclose(
        found.bboxes[0], [0, 0, 63, 47], atol=1e-3
    )  # regions end before the last pixel, as in the original
    assert found.scores[0] == pytest.approx(0.8, abs=1e-3)
    steps = [
        'coarse preprocess',
        'coarse network',
        'coarse nms',
        'packing',
        'mosaic',
        'fine preprocess',
        'fine network',
        'fine nms',
        'merge',
    ]
    if mosaic == 'direct':  # the mosaic is drawn where it is normalised
        steps[4:6] = steps[5:3:-1]
    assert [*runtime.clock.times] == steps and [*runtime.clock.sizes['regions']] == [1, 0]


@pytest.mark.parametrize(
    ('own', 'asked', 'backend', 'mosaic'),
    [
        ('fp32', None, None, 'exact'),
        ('fp32', 'fp32', 'onnxruntime', 'exact'),
        ('fp32', 'bf16', 'openvino', 'direct'),
        ('bf16', None, None, 'direct'),
        ('bf16', 'fp32', 'openvino', 'exact'),
        ('int8', 'fp32', 'openvino', 'direct'),  # nothing undoes a quantisation
        ('fp32', 'int8', 'openvino', 'precision: the network is a file of fp32; int8 takes an export'),
        ('fp32', 'fp16', 'onnxruntime', 'precision: ONNX Runtime computes in the types of the file, fp32'),
    ],
)
def test_the_precision_in_use_decides(tmp_path, own, asked, backend, mosaic):
    if 'openvino' in (backend, *(['openvino'] if own == 'bf16' else [])):
        pytest.importorskip('openvino', reason='needs openvino')
    manifest = dict(kind='UFPMPDet', stages=dict(coarse=stage(), fine=stage()), composite={})
    made = write_folder(tmp_path, precision=own, manifest=manifest)
    if ':' in mosaic:
        with pytest.raises(ConfigError, match=mosaic):
            load(made, precision=asked, backend=backend)
        return
    detector = load(made, precision=asked, backend=backend, threads=1).detector
    assert (detector.mosaic, detector.coarse.exact_resize) == (mosaic, mosaic == 'exact')


def test_pixels_between_two_grey_levels(tmp_path):
    """A mean of 202.5 is 202 for the stages of a composite detector, as in the toolbox, and 203 for a detector on its own, as of ``Resize``."""
    image, half = picture(202, 64, 32), dict(scales=[[32, 16]])
    image[1::2, ..., 2] = 203
    sliced = folder(tmp_path / 'a', 'SlicedDet', dict(stage=stage(**half)), dict(tile_wh=None))
    second = folder(tmp_path / 'b', 'UFPMPDet', dict(coarse=stage(**half), fine=stage()), dict(look_below=0))
    for made, level in ((sliced, 202), (second, 202), (write_folder(tmp_path / 'c', **half), 203)):
        assert load(made)(image).scores[0] == pytest.approx(level / 255, abs=1e-5)


def test_wrong_settings(tmp_path):
    made = folder(tmp_path / 'a', 'UFPMPDet', dict(coarse=stage(), fine=stage()), dict(min_overlap=2))
    with pytest.raises(CheckpointError, match=r'manifest\.json: composite: min_overlap: must be in \[0, 1\]'):
        load(made)
    made = folder(tmp_path / 'b', 'SlicedDet', dict(stage=stage()), dict(tiles=2))
    with pytest.raises(CheckpointError, match=r"manifest\.json: composite: .*'tiles'"):
        load(made)
    made = write_folder(tmp_path / 'd', test_cfg=dict(nms=dict(type='fuzzy')))
    with pytest.raises(
        CheckpointError,
        match=r'manifest\.json: stages.detector.test_cfg.nms: must be null, or an object with a known type',
    ):
        load(made)
    made = folder(tmp_path / 'e', 'SlicedDet', dict(stage=stage(end_to_end=1)), {})
    with pytest.raises(CheckpointError, match=r'manifest\.json: stages.stage.end_to_end: must be true or false'):
        load(made)
    for number, rule in enumerate((3, dict(divisor=0), dict(cells=1 << 30), dict(strides=[0.5]), dict(side=1))):
        made = folder(tmp_path / f'rule{number}', 'SlicedDet', dict(stage=stage(input_rule=rule)), {})
        with pytest.raises(
            CheckpointError, match=r'manifest\.json: stages.stage.input_rule: must be null, or an object'
        ):
            load(made)
    with pytest.raises(ConfigError, match='mosaic: is for UFPMPDet'):
        load(folder(tmp_path / 'c', 'SlicedDet', dict(stage=stage()), {}), mosaic='direct')
