"""A one-stage detector that is trained with the help of another one, its teacher."""

from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config, ConfigDict
from mmengine.logging import print_log
from mmengine.runner import CheckpointLoader
from torch import Tensor

from mmdet.config import load_config
from mmdet.errors import CheckpointError, ConfigError
from mmdet.models.dense_heads.base_dense_head import Losses, to_config_dict
from mmdet.registry import MODELS
from mmdet.structures import SampleList
from mmdet.utils.shipped import shipped_files

from .single_stage import SingleStageDetector

# Constants and counters, which a checkpoint need not have.
_NOT_WEIGHTS = ('num_batches_tracked', 'project')


class _OutsideTheTree(list):
    """Holds the teacher where torch does not look for modules. Copies of the student, such as averages of its weights, share it."""

    def __deepcopy__(self, memo: dict) -> '_OutsideTheTree':
        return self


@MODELS.register_module()
class KnowledgeDistillationSingleStageDetector(SingleStageDetector):
    """A student whose head also gets the raw outputs of a frozen teacher on the same batch (localization distillation, arXiv 2102.12252).

    The teacher is no part of the student: it has no place in its parameters, its checkpoints or its averages, and only :meth:`loss` uses
    it. Its weights are read when the training starts, so that a trained student can be tested where the teacher is not.

    Args:
        backbone, neck, bbox_head: configs of the student; ``bbox_head`` is an ``LDHead`` or another head whose ``loss`` takes the feature
            maps, the teacher's raw outputs and the samples.
        teacher_config: config of the teacher, a ``Config``, a dict with the key ``model``, or the path of a config file. A relative path is
            looked up in the working directory, then in and above the folder of the config that names it
            (:func:`mmdet.config.load_config`), then beside this package.
        teacher_ckpt: path, URL or name of the teacher's checkpoint; None leaves its weights random, for tests.
        eval_teacher: whether the teacher stays in evaluation mode while the student trains.
        train_cfg, test_cfg, data_preprocessor, init_cfg: see :class:`SingleStageDetector`.

    Raises:
        ConfigError: no such teacher config, or a teacher whose levels or bins are not the student's.
    """

    def __init__(
        self,
        backbone: dict,
        neck: dict | None,
        bbox_head: dict | Config,
        teacher_config: dict | Config | str | Path,
        teacher_ckpt: str | None = None,
        eval_teacher: bool = True,
        train_cfg: dict | Config | None = None,
        test_cfg: dict | Config | None = None,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ):
        super().__init__(backbone, neck, bbox_head, train_cfg, test_cfg, data_preprocessor, init_cfg)
        self.teacher_ckpt, self.eval_teacher = teacher_ckpt, eval_teacher
        self._teacher_config = _teacher_model_config(teacher_config)
        self._teacher = _OutsideTheTree()
        with torch.device('meta'):
            self._check_teacher(MODELS.build(self._teacher_config))

    def _check_teacher(self, teacher: SingleStageDetector) -> None:
        student = self.bbox_head
        for what, name in (('bins of a side', 'reg_max'), ('strides', 'prior_generator.strides')):
            wanted, received = (_attribute(head, name) for head in (student, getattr(teacher, 'bbox_head', None)))
            if wanted is not None and wanted != received:
                message = f"the teacher's {what} must be the student's, {wanted}"
                raise ConfigError(message, field=f'teacher_config.model.bbox_head: {name}', received=received)

    @property
    def teacher_model(self) -> SingleStageDetector:
        """The frozen teacher, on the device of the student; built and loaded when it is first asked for.

        Raises:
            CheckpointError: its checkpoint cannot be read, or lacks weights.
        """
        if not self._teacher:
            teacher = MODELS.build(self._teacher_config)
            _load_teacher(teacher, self.teacher_ckpt)
            self._teacher.append(teacher.requires_grad_(False).eval())
        teacher = self._teacher[0]
        device = next(self.parameters()).device
        if next(teacher.parameters()).device != device:
            teacher.to(device)
        training = self.training and not self.eval_teacher
        return teacher if teacher.training == training else teacher.train(training)

    def init_weights(self) -> None:
        """Initialise the student, and read the teacher, so that a missing file is noticed before the training starts."""
        super().init_weights()
        self.teacher_model  # noqa: B018

    def loss(self, batch_inputs: Tensor, batch_data_samples: SampleList) -> Losses:
        """Losses of the student's head, scalars or lists over levels."""
        teacher = self.teacher_model
        with torch.no_grad():
            out_teacher = teacher.bbox_head(teacher.extract_feat(batch_inputs))
        head: Any = self.bbox_head
        return head.loss(self.extract_feat(batch_inputs), out_teacher, batch_data_samples)


def _attribute(value: object, path: str) -> object:
    for name in path.split('.'):
        value = getattr(value, name, None)
    return value


def _teacher_model_config(source: dict | Config | str | Path) -> ConfigDict:
    """The ``model`` of a teacher's config, without the pretrained weights of its backbone."""
    file = None
    if isinstance(source, (str, Path)):
        places = [Path(source), shipped_files() / source]
        file = next((place for place in places if place.is_file()), None)
        if file is None:
            raise ConfigError('no such config file', field='teacher_config', received=str(source))
        source = load_config(file)
    if 'model' not in source:
        raise ConfigError('has no model', file=file, field='teacher_config', received=list(source))
    model = to_config_dict(source['model'])
    if isinstance(model.get('backbone'), dict):
        model.backbone.pop('init_cfg', None)
        model.backbone.pop('pretrained', None)
    return model


def _load_teacher(teacher: SingleStageDetector, checkpoint: str | None) -> None:
    if checkpoint is None:
        print_log('The teacher has no checkpoint (teacher_ckpt): its weights are random', 'current')
        return
    try:
        content = CheckpointLoader.load_checkpoint(checkpoint, map_location='cpu')
    except CheckpointError as error:
        raise CheckpointError(str(error), field='teacher_ckpt') from error
    state = content.get('state_dict', content)
    wanted = {
        name: tuple(value.shape) for name, value in teacher.state_dict().items() if not name.endswith(_NOT_WEIGHTS)
    }
    missing = [name for name in wanted if name not in state]
    if missing:
        message = f'lacks {len(missing)} of the {len(wanted)} tensors of the teacher, the first being {missing[0]}'
        raise CheckpointError(message, file=checkpoint, field='teacher_ckpt', received=list(state)[:5])
    try:
        teacher.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise CheckpointError(f'does not fit the teacher: {error}', file=checkpoint, field='teacher_ckpt') from error
