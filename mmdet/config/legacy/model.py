"""Translate ``model`` of an old config, with the keys for it at the top level."""

import copy
from pathlib import Path

from ...errors import ConfigError
from .report import UpgradeReport

# Arguments of heads that exist in mmdetection 1.x only.
_V1_HEAD_KEYS = ('anchor_strides', 'anchor_ratios', 'anchor_scales', 'anchor_base_sizes', 'loss_qfl')
# Those of the anchors, which are arguments of the anchor generator now, without the prefix ``anchor_``.
_V1_ANCHOR_KEYS = (
    'anchor_ratios', 'anchor_scales', 'octave_base_scale', 'scales_per_octave', 'anchor_strides', 'anchor_base_sizes'
)  # fmt: skip
# The published structures of MAE-DET, which its configs name as files: output channels of the stem, then out, kernel, units and bottleneck channels of
# each super block, all of stride 2.
_MAEDET = dict(
    maedet_s=(32, (48, 5, 2, 32), (272, 3, 4, 120), (1024, 5, 10, 80), (2048, 3, 10, 240)),
    maedet_m=(64, (120, 3, 2, 64), (512, 5, 10, 72), (1632, 5, 10, 112), (2048, 5, 8, 184)),
    maedet_l=(80, (144, 3, 2, 80), (608, 5, 12, 88), (1912, 5, 12, 136), (2400, 5, 10, 220)),
)


def is_v1(cfg: dict) -> bool:
    """Whether a config follows mmdetection 1.x: classes counted with the background, boxes of inclusive pixels."""
    head = (cfg.get('model') or {}).get('bbox_head') or {}
    return any(key in head for key in _V1_HEAD_KEYS)


def upgrade_model(cfg: dict, v1: bool, preprocessor: dict | None, report: UpgradeReport) -> dict:
    """The new-style ``model``.

    Args:
        cfg: the whole old config, which stays as it is.
        v1: see :func:`is_v1`.
        preprocessor: ``data_preprocessor`` from the pipelines.
        report: receives an entry for each change.
    """
    model = copy.deepcopy(cfg['model'])
    if preprocessor is not None:
        model.setdefault('data_preprocessor', preprocessor)
    _upgrade_madnas(cfg, model.get('backbone') or {}, report)
    _move_pretrained(model, report)
    for key in ('train_cfg', 'test_cfg'):
        if cfg.get(key) and key not in model:
            model[key] = copy.deepcopy(cfg[key])
            report.translate(key, f'model.{key}')
    _upgrade_dcn((model.get('backbone') or {}).get('dcn') or {}, report)
    _upgrade_neck(model.get('neck') or {}, report)
    if model.get('bbox_head'):
        test_cfg = model.get('test_cfg') or {}
        _rename(test_cfg.get('nms') or {}, 'iou_thr', 'iou_threshold', report, 'test_cfg.nms.iou_thr', 'iou_threshold')
        if v1:
            _upgrade_v1(model, report)
        elif model['bbox_head'].get('type') == 'GFocalHead' and test_cfg:
            test_cfg.setdefault('nms_pre_rule', 'priors')
            report.translate('the candidates of GFLV2 before the NMS', "test_cfg.nms_pre_rule='priors'")
    return model


def _rename(settings: dict, old: str, new: str, report: UpgradeReport, old_place: str, new_place: str) -> None:
    if old in settings:
        settings[new] = settings.pop(old)
        report.translate(old_place, new_place)


def _move_pretrained(model: dict, report: UpgradeReport) -> None:
    backbone = model.get('backbone') or {}
    for owner, name in ((model, 'model.pretrained'), (backbone, 'model.backbone.pretrained')):
        if 'pretrained' not in owner:
            continue
        source = owner.pop('pretrained')
        if source and not backbone.get('init_cfg'):
            backbone['init_cfg'] = dict(type='Pretrained', checkpoint=source)
            report.translate(name, 'model.backbone.init_cfg')


def _upgrade_madnas(cfg: dict, backbone: dict, report: UpgradeReport) -> None:
    """LightNAS's backbone of MAE-DET. Its published configs give the structure by an argument that the class does not have, ``net_str``."""
    if backbone.get('type') != 'MadNas':
        return
    given = [backbone.pop(key) for key in ('structure_txt', 'net_str') if key in backbone]
    if not given or not isinstance(given[0], str):
        raise ConfigError('MadNas needs the file of its structure', field='backbone.structure_txt', received=given)
    path = Path(given[0])
    structure: str | list[dict] = given[0]
    if not path.is_file() and path.stem in _MAEDET:
        stem, *blocks = _MAEDET[path.stem]
        published: list[dict] = [{'class': 'ConvKXBNRELU', 'in': 3, 'out': stem, 'k': 3, 's': 2}]
        for channels, kernel, units, bottleneck in blocks:
            block = {'class': 'SuperResK1KXK1', 'in': published[-1]['out'], 'out': channels, 'k': kernel, 's': 2}
            published.append({**block, 'L': units, 'btn': bottleneck})
        structure = published
        report.note(f'there is no file {path}: the published structure of {path.stem} is taken')
    backbone.update(type='TinyNASBackbone', structure=structure)
    if cfg.get('use_syncBN_torch'):
        backbone['norm_cfg'] = dict(type='SyncBN', requires_grad=True)
    source = backbone.pop('init_cfg', None)
    if source:
        backbone['init_cfg'] = dict(type='Pretrained', checkpoint=source) if isinstance(source, str) else source
    report.translate('backbone MadNas', 'TinyNASBackbone')


def _upgrade_dcn(dcn: dict, report: UpgradeReport) -> None:
    if 'modulated' in dcn:
        modulated = dcn.pop('modulated')
        dcn.setdefault('type', 'DCNv2' if modulated else 'DCN')
        report.translate('backbone.dcn.modulated', 'dcn.type')
    _rename(dcn, 'deformable_groups', 'deform_groups', report, 'backbone.dcn.deformable_groups', 'dcn.deform_groups')


def _upgrade_neck(neck: dict, report: UpgradeReport) -> None:
    if 'extra_convs_on_inputs' in neck:
        on_inputs = neck.pop('extra_convs_on_inputs')
        if neck.get('add_extra_convs') is True:
            neck['add_extra_convs'] = 'on_input' if on_inputs else 'on_output'
        report.translate('neck.extra_convs_on_inputs', f'add_extra_convs={neck.get("add_extra_convs")!r}')


def _upgrade_v1(model: dict, report: UpgradeReport) -> None:
    """Translate a one-stage model of mmdetection 1.x and switch its conventions on."""
    head = model['bbox_head']
    if 'num_classes' in head:
        head['num_classes'] -= 1
        report.translate(f'num_classes={head["num_classes"] + 1} (with background)', f'{head["num_classes"]}')
    _rename(head, 'loss_qfl', 'loss_cls', report, 'bbox_head.loss_qfl', 'loss_cls')
    generator = head['anchor_generator'] = dict(type='LegacyAnchorGenerator', center_offset=0.5)
    for old in _V1_ANCHOR_KEYS:
        value, new = head.pop(old, None), old.removeprefix('anchor_')
        if value is not None:
            generator[new] = value
            report.translate(f'bbox_head.{old}', f'anchor_generator.{new}')
    for key in ('target_means', 'target_stds'):
        if key in head:
            del head[key]
            report.drop(f'bbox_head.{key}', 'this head has no deltas to normalise')
    head['legacy'] = True
    if head.get('loss_bbox', {}).get('type') == 'GIoULoss':
        head['loss_bbox']['offset'] = 1
    assigner = (model.get('train_cfg') or {}).get('assigner')
    if assigner:
        assigner['iou_calculator'] = dict(type='BboxOverlaps2D', offset=1)
    if model.get('test_cfg'):
        model['test_cfg'].setdefault('nms_pre_rule', 'priors')
    report.note(
        'mmdetection 1.x: priors centred at (stride - 1) / 2, inclusive pixels (legacy=True, offset=1) and its selection '
        "of candidates (nms_pre_rule='priors') are switched on, as its checkpoints need"
    )
