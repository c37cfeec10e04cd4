"""Exported folders with a network made by hand, whose detections are known.

The network looks at nothing but the largest value m of the first channel, and gives three candidates: the whole image (class 0, score m), its upper
left quarter (class 1, m / 2), and nine tenths of the whole (class 0, 0.9 m), which an NMS drops.
"""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

CLASSES = ['whole', 'quarter']


def network(outputs: str = 'candidates', size: tuple = ('b', 3, 'h', 'w')) -> bytes:
    """An ONNX file, as bytes."""
    onnx = pytest.importorskip('onnx', reason='the network of these tests is made with onnx')
    helper, numpy_helper, kind = onnx.helper, onnx.numpy_helper, onnx.TensorProto
    constants = dict(
        first=np.array([0]), second=np.array([1]), axis=np.array([1]), axes=np.array([1, 2, 3]), turned=np.array([1, 0, 1, 0]),
        part=np.float32([[[0, 0, 1, 1], [0, 0, 0.5, 0.5], [0, 0, 1, 0.9]]]), weight=np.float32([[1, 0.5, 0.9]]),
        kinds=np.array([[0, 1, 0]]), flat=np.array([-1]), rows=np.array([-1, 4]), least=np.float32(-1),
    )  # fmt: skip
    steps = [
        ('Slice', ['image', 'first', 'second', 'axis'], 'red'), ('ReduceMax', ['red', 'axes'], 'm4'), ('Reshape', ['m4', 'column'], 'm'),
        ('Mul', ['m', 'weight'], 's'), ('Cast', ['shape'], 'size'), ('Gather', ['size', 'turned'], 'whwh'), ('Unsqueeze', ['whwh', 'axis'], 'whole'),
        ('Mul', ['whole', 'part'], 'b'), ('Shape', ['s'], 'many'), ('Expand', ['kinds', 'many'], 'l'),
    ]  # fmt: skip
    constants['column'] = np.array([-1, 1])
    if outputs == 'boxes':
        steps += [
            ('Greater', ['s', 'least'], 'all'), ('NonZero', ['all'], 'places'), ('Slice', ['places', 'first', 'second', 'first'], 'owners'),
            ('Reshape', ['owners', 'flat'], 'image_index'), ('Reshape', ['b', 'rows'], 'boxes'), ('Reshape', ['s', 'flat'], 'scores'),
            ('Reshape', ['l', 'flat'], 'labels'),
        ]  # fmt: skip
    else:
        steps += [('Identity', [short], name) for short, name in (('b', 'boxes'), ('s', 'scores'), ('l', 'labels'))]
    options: dict = {'ReduceMax': dict(keepdims=1), 'Cast': dict(to=kind.FLOAT), 'Gather': dict(axis=1)}
    nodes = [helper.make_node(op, given, [made], **options.get(op, {})) for op, given, made in steps]
    shapes = (
        dict(boxes=['m', 4], scores=['m'], labels=['m'])
        if outputs == 'boxes'
        else dict(boxes=[size[0], 3, 4], scores=[size[0], 3], labels=[size[0], 3])
    )
    results = [
        helper.make_tensor_value_info(name, kind.INT64 if name == 'labels' else kind.FLOAT, shape)
        for name, shape in shapes.items()
    ]
    if outputs == 'boxes':
        results.append(helper.make_tensor_value_info('image_index', kind.INT64, ['m']))
    inputs = [
        helper.make_tensor_value_info('image', kind.FLOAT, size),
        helper.make_tensor_value_info('shape', kind.INT64, [size[0], 2]),
    ]
    graph = helper.make_graph(
        nodes, 'tiny', inputs, results, [numpy_helper.from_array(v, k) for k, v in constants.items()]
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid('', 18)], ir_version=9).SerializeToString()


def stage(**other: object) -> dict:
    """Settings of a stage: images keep their size, red is the first channel, 255 becomes 1."""
    usual = dict(
        network='network', scales=[[64, 64]], flip=False, keep_ratio=True, max_zoom=1, batch_size=4, mean=[0, 0, 0], std=[255, 255, 255],
        bgr_to_rgb=True, pad_divisor=32, pad_value=0, clips_boxes=True,
        test_cfg=dict(score_thr=0.05, nms=dict(type='nms', iou_threshold=0.6), max_per_img=10),
    )  # fmt: skip
    return {**usual, **other}


def write_folder(
    folder: Path,
    *,
    outputs: str = 'candidates',
    size: tuple = ('b', 3, 'h', 'w'),
    precision: str = 'fp32',
    manifest: dict | None = None,
    **other: object,
) -> Path:
    """An exported folder; ``other`` are settings of its stage, ``manifest`` replaces parts of the manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    data = network(outputs, size)
    (folder / 'model.onnx').write_bytes(data)
    entry = dict(
        file='model.onnx', sha256={'model.onnx': hashlib.sha256(data).hexdigest()}, to='onnx', precision=precision, outputs=outputs,
        inputs=dict(image=[None if isinstance(side, str) else side for side in size]), divisor=32,
    )  # fmt: skip
    whole = dict(
        format='mmdet-runtime',
        version=1,
        kind='detector',
        classes=CLASSES,
        networks=dict(network=entry),
        stages=dict(detector=stage(**other)),
    )
    (folder / 'manifest.json').write_text(json.dumps({**whole, **(manifest or {})}))
    return folder


def picture(red: int, width: int = 40, height: int = 20) -> np.ndarray:
    """An image (h, w, 3) BGR of one colour: this red, no green, and all blue."""
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0] = 255
    image[..., 2] = red
    return image
