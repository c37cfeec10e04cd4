"""Kinds of boxes by name, and the decorator by which transforms take arrays and boxes alike."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmdet.errors import ArgumentError
from mmdet.registry import BOX_TYPES

from .base_boxes import CONVERTERS, BaseBoxes, BoxType, convert_tensor, get_box_type

_AnyBoxes = np.ndarray | Tensor | BaseBoxes


def _register(table: dict, key: Any, value: Any, force: bool) -> None:
    if not isinstance(force, bool):
        raise TypeError(f'force must be a bool. Received: {force!r}')
    if not force and key in table:
        raise KeyError(f'{key!r} is registered already; force=True replaces it')
    table[key] = value


def register_box(name: str, box_type: type | None = None, force: bool = False) -> Any:
    """Register a class of boxes under a name whose case does not matter; without ``box_type`` this is a decorator.

    Raises:
        KeyError: the name is taken, and ``force`` is not set.
        TypeError: ``force`` is not a bool.
        ArgumentError: no class derived from :class:`BaseBoxes`; it is an AssertionError too.
    """

    def register(cls: type) -> type:
        if not (isinstance(cls, type) and issubclass(cls, BaseBoxes)):
            raise ArgumentError('must be a class derived from BaseBoxes', field='box_type', received=cls)
        _register(BOX_TYPES, name.lower(), cls, force)
        return cls

    if not isinstance(force, bool):
        raise TypeError(f'force must be a bool. Received: {force!r}')
    return register if box_type is None else register(box_type)


def register_box_converter(
    src_type: BoxType, dst_type: BoxType, converter: Callable | None = None, force: bool = False
) -> Callable:
    """Register a function of one tensor, (..., D of the source) to (..., D of the target); without ``converter`` a decorator.

    Raises:
        KeyError: the pair has a converter, and ``force`` is not set.
    """
    pair = get_box_type(src_type)[0], get_box_type(dst_type)[0]

    def register(function: Callable) -> Callable:
        _register(CONVERTERS, pair, function, force)
        return function

    return register if converter is None else register(converter)


def convert_box_type(
    boxes: _AnyBoxes, *, src_type: BoxType | None = None, dst_type: BoxType | None = None
) -> _AnyBoxes:
    """Boxes of one kind as another; arrays stay arrays, tensors tensors, and objects become objects of the new class.

    Args:
        boxes: (..., D of the source).
        src_type: the kind of an array or tensor.
        dst_type: the kind to return.

    Raises:
        ArgumentError: a kind is missing, or there is no converter; it is an AssertionError too.
        TypeError: ``boxes`` is something else.
    """
    if dst_type is None:
        raise ArgumentError('is needed', field='dst_type')
    if isinstance(boxes, BaseBoxes):
        return boxes.convert_to(dst_type)
    if not isinstance(boxes, np.ndarray | Tensor):
        raise TypeError(f'boxes must be BaseBoxes, a tensor or an array. Received: {type(boxes).__name__}')
    if src_type is None:
        raise ArgumentError('is needed for arrays and tensors', field='src_type')
    src, dst = get_box_type(src_type)[0], get_box_type(dst_type)[0]
    converted = convert_tensor(torch.as_tensor(boxes), src, dst)
    return converted.numpy() if isinstance(boxes, np.ndarray) else converted


def autocast_box_type(dst_box_type: BoxType = 'hbox') -> Callable:
    """Decorator of ``transform(self, results)``: inside, ``results['gt_bboxes']`` is always an object of boxes.

    Arrays (n, D) are wrapped as ``dst_box_type`` in memory of their own, because the methods of boxes work in place, and what the transform
    returns holds an array again. The samples of ``results['mix_results']`` hold boxes for the time of the call, and their own arrays
    afterwards; so does ``results`` when it is not what the transform returns (None, or another dict). Objects of any kind pass through as
    they are. Samples without boxes do, too.

    Raises:
        TypeError: ``gt_bboxes`` is neither.
    """

    def decorate(function: Callable) -> Callable:
        @functools.wraps(function)
        def wrapped(self: Any, results: dict, *args: Any, **kwargs: Any) -> Any:
            boxes = results.get('gt_bboxes')
            if boxes is None or isinstance(boxes, BaseBoxes):
                return function(self, results, *args, **kwargs)
            if not isinstance(boxes, np.ndarray):
                raise TypeError(f'gt_bboxes must be an array or BaseBoxes. Received: {type(boxes).__name__}')
            cls = get_box_type(dst_box_type)[1]
            arrays = []
            for sample in (results, *results.get('mix_results', ())):
                if isinstance(sample.get('gt_bboxes'), np.ndarray):
                    arrays.append((sample, sample['gt_bboxes']))
                    sample['gt_bboxes'] = cls(sample['gt_bboxes'])
            returned = None
            try:
                returned = function(self, results, *args, **kwargs)
            finally:
                for sample, array in arrays:
                    if sample is not returned:
                        sample['gt_bboxes'] = array
            if returned is not None and isinstance(returned.get('gt_bboxes'), BaseBoxes):
                returned['gt_bboxes'] = returned['gt_bboxes'].numpy()
            return returned

        return wrapped

    return decorate
