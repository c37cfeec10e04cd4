"""Makes mmdetection 3.3.0 importable beside current torch and the pure-Python mmcv, to be measured as a peer.

    import peer_mmdet; peer_mmdet.prepare()      # before the first import of mmdet

``mmdet`` must then be found as mmdetection's package: its folder stands before the toolbox's own on PYTHONPATH. mmdetection asks at import
for mmcv's compiled operators; NMS is answered by torchvision's kernel (mmcv's is of the same kind), or a plain loop where that does not
load, and every other operator by a class that says so when it is used.
"""

import sys
import types
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path

import torch
from torch import nn


def nms_kernel():
    """torchvision's NMS, or the plain loop of nms.py."""
    try:
        from torchvision.ops import nms

        nms(torch.zeros(1, 4), torch.zeros(1), 0.5)
    except Exception as error:  # a CUDA build beside a CPU torch raises RuntimeError at import
        print(f'the peer uses a plain NMS: torchvision does not work here ({type(error).__name__})')
        from nms import plain_loop

        return lambda boxes, scores, threshold: plain_loop(boxes, scores, threshold, None)
    return nms


def batched_nms(boxes, scores, idxs, nms_cfg, class_agnostic=False):
    """NMS of each class by moving the classes apart, with mmcv's arguments and results."""
    options = dict(nms_cfg)
    moved = boxes if class_agnostic or not len(boxes) else boxes + idxs.to(boxes)[:, None] * (boxes.max() + 1)
    kept = nms_kernel()(moved, scores, options['iou_threshold'])
    if options.get('max_num', -1) > 0:
        kept = kept[: options['max_num']]
    return torch.cat([boxes[kept], scores[kept, None]], dim=1), kept


def missing_operator(name: str):
    """A class in place of an operator or a drawing function that is not needed here."""
    if name.startswith('__'):
        raise AttributeError(name)

    def refuse(self, *args, **kwargs):
        raise RuntimeError(f'{name} is not available to the peer')

    return type(name, (nn.Module,), {'__init__': refuse})


class MissingModules(MetaPathFinder, Loader):
    """Answers ``mmcv.ops`` and what mmdetection imports for its drawings, with all modules below them."""

    roots = ('mmcv.ops', 'matplotlib', 'seaborn')

    def find_spec(self, fullname, path=None, target=None):
        if any(f'{fullname}.'.startswith(f'{root}.') for root in self.roots):
            return ModuleSpec(fullname, self, is_package=True)
        return None

    def create_module(self, spec):
        module = types.ModuleType(spec.name)
        module.batched_nms = batched_nms
        module.__getattr__ = missing_operator
        return module

    def exec_module(self, module):
        """Nothing to run."""


def prepare() -> Path:
    """Import mmdetection, register its parts, and return the folder of its configs.

    Raises:
        SystemExit: ``mmdet`` is not mmdetection 3.3.0.
    """
    # mmdetection tries to import these for models that are not measured here; on a machine that has them it would take seconds.
    sys.modules.update(dict.fromkeys(('transformers', 'sklearn', 'panopticapi', 'fairscale')))
    sys.meta_path.insert(0, MissingModules())
    import mmcv

    mmcv.__version__ = '2.1.0'  # the newest that mmdetection 3.3.0 accepts
    import mmdet

    if mmdet.__version__ != '3.3.0' or not (Path(mmdet.__file__).parent / '.mim').is_dir():
        raise SystemExit(f'the peer is mmdetection 3.3.0; received {mmdet.__version__} in {mmdet.__file__}')
    from mmdet.utils import register_all_modules

    register_all_modules()
    return Path(mmdet.__file__).parent / '.mim' / 'configs'
