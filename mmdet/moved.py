"""Import paths of modules in earlier versions and in mmdetection 3.x, which lead to the names that they held.

An old path that corresponds to one module today *is* that module; one whose names went to several modules holds the public names of all of them.
The objects are the same either way, so that old pickles can be read and no type is registered twice.
"""

import importlib
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType

# Old path -> today's paths. The entry of a package also covers the modules in it.
MOVED: dict[str, tuple[str, ...]] = {
    'mmdet.apis.evaluate_ufpmp': ('mmdet.apis.composite_evaluation',),
    'mmdet.apis.report': ('mmdet.visualization.report',),
    'mmdet.apis.report_style': ('mmdet.visualization.report_style',),
    'mmdet.apis.test': ('mmdet.apis.testing',),
    'mmdet.apis.train': ('mmdet.apis.training',),
    'mmdet.core.ufp.guillotine': ('mmdet_runtime.ufp.guillotine',),
    'mmdet.core.ufp.mapping': ('mmdet_runtime.ufp.mapping',),
    'mmdet.core.ufp.maxrects': ('mmdet_runtime.ufp.maxrects',),
    'mmdet.core.ufp.mosaic': ('mmdet_runtime.ufp.mosaic',),
    'mmdet.core.ufp.packing': ('mmdet_runtime.ufp.packing',),
    'mmdet.core.ufp.regions': ('mmdet_runtime.ufp.regions',),
    'mmdet.datasets.api_wrappers.coco_api': ('mmdet.formats.coco_api',),
    'mmdet.datasets.cityscapes': ('mmdet.datasets.published',),
    'mmdet.datasets.converters.progress': ('mmdet.utils.progress',),
    'mmdet.datasets.converters.results': ('mmdet.evaluation.convert_results',),
    'mmdet.datasets.deepfashion': ('mmdet.datasets.published',),
    'mmdet.datasets.image_io': ('mmdet.formats.images',),
    'mmdet.datasets.lvis': ('mmdet.datasets.published',),
    'mmdet.datasets.objects365': ('mmdet.datasets.published',),
    'mmdet.datasets.scene_drawing': ('mmdet.datasets.drone_scenes.drawing',),
    'mmdet.datasets.scene_layout': ('mmdet.datasets.drone_scenes.layout',),
    'mmdet.datasets.scene_objects': ('mmdet.datasets.drone_scenes.objects',),
    'mmdet.datasets.synthetic': ('mmdet.datasets.drone_scenes.dataset',),
    'mmdet.datasets.transforms.colorspace': ('mmdet.datasets.transforms.color',),
    'mmdet.datasets.transforms.transforms': ('mmdet.datasets.transforms',),
    'mmdet.datasets.voc': ('mmdet.datasets.published',),
    'mmdet.datasets.xml_style': ('mmdet.datasets.published',),
    'mmdet.engine.checkpoint_convert': ('mmdet.engine.checkpoint.converting',),
    'mmdet.engine.checkpoint_names': ('mmdet.engine.checkpoint.names',),
    'mmdet.engine.checkpoint_saver': ('mmdet.engine.checkpoint.saving', 'mmdet.utils.files'),
    'mmdet.engine.checkpoint_source': ('mmdet.engine.checkpoint.sources',),
    'mmdet.evaluation.coco_files': ('mmdet.formats.coco', 'mmdet.formats.predictions'),
    'mmdet.evaluation.metrics': ('mmdet.evaluation',),
    'mmdet.evaluation.metrics.dump_det_results': ('mmdet.evaluation.dump_results',),
    'mmdet.evaluation.visdrone_files': ('mmdet.formats.visdrone',),
    'mmdet.models.dense_heads.gfl_targets': ('mmdet.models.dense_heads.gfl_head',),
    'mmdet.models.detectors.yolo': ('mmdet.models.detectors.single_stage',),
    'mmdet.models.detectors.yolox': ('mmdet.models.detectors.single_stage',),
    'mmdet.models.layers.tinynas_structure': ('mmdet.archs.files',),
    'mmdet.models.roi_heads.double_roi_head': ('mmdet.models.roi_heads.standard_roi_head',),
    'mmdet.models.roi_heads.roi_extractors.base_roi_extractor': (
        'mmdet.models.roi_heads.roi_extractors.single_level_roi_extractor',
    ),
    'mmdet.models.task_modules.assigners.assign_result': ('mmdet.core.assigners.assign_result',),
    'mmdet.models.task_modules.assigners.atss_assigner': ('mmdet.core.assigners.atss_assigner',),
    'mmdet.models.task_modules.assigners.base_assigner': ('mmdet.core.assigners.base_assigner',),
    'mmdet.models.task_modules.assigners.dynamic_soft_label_assigner': (
        'mmdet.core.assigners.dynamic_soft_label_assigner',
    ),
    'mmdet.models.task_modules.assigners.grid_assigner': ('mmdet.core.assigners.grid_assigner',),
    'mmdet.models.task_modules.assigners.hungarian_assigner': ('mmdet.core.assigners.hungarian_assigner',),
    'mmdet.models.task_modules.assigners.iou2d_calculator': ('mmdet.core.boxes.overlaps',),
    'mmdet.models.task_modules.assigners.match_cost': ('mmdet.core.assigners.match_cost',),
    'mmdet.models.task_modules.assigners.max_iou_assigner': ('mmdet.core.assigners.max_iou_assigner',),
    'mmdet.models.task_modules.assigners.sim_ota_assigner': ('mmdet.core.assigners.sim_ota_assigner',),
    'mmdet.models.task_modules.assigners.task_aligned_assigner': ('mmdet.core.assigners.task_aligned_assigner',),
    'mmdet.models.task_modules.coders.base_bbox_coder': ('mmdet.core.boxes.base_bbox_coder',),
    'mmdet.models.task_modules.coders.delta_xywh_bbox_coder': ('mmdet.core.boxes.delta_xywh_bbox_coder',),
    'mmdet.models.task_modules.coders.distance_point_bbox_coder': ('mmdet.core.boxes.distances',),
    'mmdet.models.task_modules.coders.tblr_bbox_coder': ('mmdet.core.boxes.tblr_bbox_coder',),
    'mmdet.models.task_modules.coders.yolo_bbox_coder': ('mmdet.core.boxes.yolo_bbox_coder',),
    'mmdet.models.task_modules.prior_generators.anchor_generator': ('mmdet.core.priors.anchor_generator',),
    'mmdet.models.task_modules.prior_generators.point_generator': ('mmdet.core.priors.point_generator',),
    'mmdet.models.task_modules.prior_generators.utils': ('mmdet.core.priors.inside',),
    'mmdet.models.task_modules.samplers.base_sampler': ('mmdet.core.samplers.base_sampler',),
    'mmdet.models.task_modules.samplers.pseudo_sampler': ('mmdet.core.samplers.pseudo_sampler',),
    'mmdet.models.task_modules.samplers.random_sampler': ('mmdet.core.samplers.random_sampler',),
    'mmdet.models.task_modules.samplers.sampling_result': ('mmdet.core.samplers.sampling_result',),
    'mmdet.nas.blocks': ('mmdet.archs.blocks',),
    'mmdet.nas.export': ('mmdet.export',),
    'mmdet.nas.structure': ('mmdet.archs.structure', 'mmdet.archs.parsing', 'mmdet.archs.blocks.base'),
    'mmdet.nas.structure_io': ('mmdet.archs.files',),
    'mmdet.nas.zennas': ('mmdet.archs.zennas',),
    'mmdet.structures.bbox.base_boxes': ('mmdet.core.boxes.base_boxes',),
    'mmdet.structures.bbox.box_type': ('mmdet.core.boxes.box_type',),
    'mmdet.structures.bbox.horizontal_boxes': ('mmdet.core.boxes.horizontal_boxes',),
    'mmdet.structures.bbox.transforms': ('mmdet.core.boxes.transforms', 'mmdet.core.boxes.distances'),
    'mmdet.structures.mask.structures': ('mmdet.core.masks.structures',),
    'mmdet.structures.mask.utils': ('mmdet.core.masks.utils',),
    'mmdet.utils.build_errors': ('mmdet.build_errors',),
    'mmdet.utils.config': ('mmdet.config.reading',),
    'mmdet.utils.config_text': ('mmdet.config.text',),
    'mmdet.utils.errors': ('mmdet.errors',),
    'mmdet.utils.legacy': ('mmdet.config.legacy',),
}


def modules_of(path: str) -> tuple[str, ...]:
    """The modules that hold the names of an old path today; empty for a path that is not old.

    >>> modules_of('mmdet.nas.blocks.conv')
    ('mmdet.archs.blocks.conv',)
    """
    package, rest = path, ''
    while package:
        if package in MOVED:
            return tuple(module + rest for module in MOVED[package])
        package, dot, name = package.rpartition('.')
        rest = f'{dot}{name}{rest}'
    return ()


def find_old_path(name: str) -> ModuleSpec | None:
    """How to import an old path; None for a path that is not old."""
    # importlib.abc.Loader, the declared type, takes milliseconds to import.
    return ModuleSpec(name, _OldPathLoader) if modules_of(name) else None  # type: ignore[arg-type]


class _OldPathLoader:
    @staticmethod
    def create_module(spec: ModuleSpec) -> None:
        """None: the import system makes an empty module."""

    @staticmethod
    def exec_module(module: ModuleType) -> None:
        """Fill the module with the names of today's modules, or put the only one of today in its place."""
        found = [importlib.import_module(name) for name in modules_of(module.__name__)]
        if len(found) == 1:
            sys.modules[module.__name__] = found[0]
        for source in found:
            vars(module).update({name: value for name, value in vars(source).items() if not name.startswith('_')})
