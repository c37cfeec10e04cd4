"""Classifiers from searched structures."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.model import BaseModel
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

from mmdet.archs.blocks import is_3d
from mmdet.archs.structure import is_quantised, stage_ends
from mmdet.errors import ConfigError, ModelInputError
from mmdet.registry import MODELS
from mmdet.utils.checks import is_int

from ...archs.files import read_network
from ..layers.lsq import LSQLinear


@MODELS.register_module()
class TinyNASClassifier(BaseModel):
    """A searched network, global average pooling, and a linear layer (of 8 bits where the network is quantised).

    Networks of 3-D blocks take clips (B, C, T, H, W), all others images (B, C, H, W).

    Args:
        structure: as in ``TinyNASBackbone``.
        num_classes: number of classes.
        structure_name: which structure, where there are several; None for the first.
        hidden_channels: width of a hidden layer with SiLU and dropout of 0.2, as networks for clips have; None for no such layer.
        backbone: further arguments of the backbone.
        data_preprocessor, init_cfg: configs of the preprocessor and of the initialisation.

    Raises:
        ConfigError: an impossible structure, or num_classes below 1.
    """

    def __init__(
        self,
        structure: Sequence[dict] | dict | str | Path,
        num_classes: int = 1000,
        structure_name: str | None = None,
        hidden_channels: int | None = None,
        backbone: dict | None = None,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ):
        super().__init__(data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        if not is_int(num_classes, 1):
            raise ConfigError('must be an int > 0', field='num_classes', received=num_classes)
        network = read_network(structure, structure_name)
        kind = 'TinyNAS3DBackbone' if is_3d(network) else 'TinyNASBackbone'
        options = dict(type=kind, structure=network, out_indices=(len(stage_ends(network)) - 1,))
        self.backbone = MODELS.build({**(backbone or {}), **options})
        self.num_classes = num_classes
        channels = self.backbone.out_channels[-1]
        linear = LSQLinear if is_quantised(network) else nn.Linear
        self.head = None
        if hidden_channels is not None:
            self.head = nn.Sequential(linear(channels, hidden_channels), nn.SiLU(inplace=True), nn.Dropout(0.2))
            channels = hidden_channels
        self.fc_linear = linear(channels, num_classes)

    def init_weights(self) -> None:
        """Initialise the backbone by its ``init_cfg``, and linear layers with weights from N(0, 1 / inputs) and biases of 0."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=module.in_features**-0.5)
                nn.init.zeros_(module.bias)
        super().init_weights()

    def extract_feat(self, inputs: Tensor) -> Tensor:
        """(B, C, [T,] H, W) to the pooled features (B, channels)."""
        return self.backbone(inputs)[-1].flatten(2).mean(2)

    def _logits(self, inputs: Tensor) -> Tensor:
        features = self.extract_feat(inputs)
        return self.fc_linear(features if self.head is None else self.head(features))

    def forward(
        self, inputs: Tensor, data_samples: Tensor | Sequence | None = None, mode: str = 'tensor'
    ) -> Tensor | dict[str, Tensor] | list:
        """Run the network.

        Args:
            inputs: (B, C, H, W) images or (B, C, T, H, W) clips.
            data_samples: for 'loss' class indices (B,), or samples with a ``gt_label`` each; for 'predict' samples to be filled, or None.
            mode: ``'tensor'`` gives logits (B, num_classes), ``'loss'`` a dict, ``'predict'`` samples with ``pred_scores``, ``pred_label``.

        Raises:
            RuntimeError: another mode.
        """
        if mode == 'tensor':
            return self._logits(inputs)
        if mode == 'loss':
            return self.loss(inputs, data_samples)
        if mode == 'predict':
            return self.predict(inputs, data_samples)
        raise RuntimeError(f"mode must be 'loss', 'predict' or 'tensor'. Received: {mode!r}")

    def loss(self, inputs: Tensor, data_samples: Tensor | Sequence | None) -> dict[str, Tensor]:
        """Cross entropy, averaged over the batch, as ``loss``; arguments as in :meth:`forward`."""
        if data_samples is None:
            raise ModelInputError('labels are needed for the loss', field='data_samples', received=None)
        logits = self._logits(inputs)
        if isinstance(data_samples, Tensor):
            labels = data_samples.flatten()
        else:
            labels = torch.stack([torch.as_tensor(sample.gt_label).reshape(()) for sample in data_samples])
        if len(labels) != len(logits):
            raise ModelInputError(f'{len(logits)} labels are needed', field='data_samples', received=len(labels))
        return dict(loss=F.cross_entropy(logits.float(), labels.to(logits.device, torch.long)))

    def predict(self, inputs: Tensor, data_samples: Tensor | Sequence | None = None) -> list:
        """Samples with ``pred_scores``, (num_classes,) that sum to 1, and ``pred_label``, the best class."""
        scores = self._logits(inputs).float().softmax(-1)
        samples = [BaseDataElement() for _ in scores] if data_samples is None else list(data_samples)
        for sample, score in zip(samples, scores):
            sample.set_field(score, 'pred_scores')
            sample.set_field(score.argmax(), 'pred_label')
        return samples

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        # In published weights of classifiers the blocks are at the top level.
        for key in [key for key in state_dict if key.startswith(f'{prefix}block_list.')]:
            state_dict[f'{prefix}backbone.{key[len(prefix) :]}'] = state_dict.pop(key)
        super()._load_from_state_dict(state_dict, prefix, *args)
