"""What backbones that read a checkpoint themselves have in common."""

from mmengine.runner.checkpoint import CheckpointLoader
from torch import Tensor

from mmdet.errors import ArgumentError, CheckpointError


def pretrained_tensors(filename: str, prefix: str | None = None) -> dict[str, Tensor]:
    """The tensors of a checkpoint by name, at the top level or under ``model`` or ``state_dict``.

    Args:
        filename: path or URL, read by mmengine's ``CheckpointLoader``.
        prefix: take only the tensors whose names start with this, and remove it; by default ``backbone.`` where there is such a tensor.
            ``module.`` is always removed.

    Raises:
        CheckpointError: the file holds no dict.
    """
    content = CheckpointLoader.load_checkpoint(filename, map_location='cpu')
    for wrapper in ('state_dict', 'model'):
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    if not isinstance(content, dict):
        raise CheckpointError('must hold a dict of tensors', file=filename, received=type(content).__name__)
    tensors = {name.removeprefix('module.'): tensor for name, tensor in content.items() if isinstance(tensor, Tensor)}
    if prefix is None and any(name.startswith('backbone.') for name in tensors):
        prefix = 'backbone'
    if prefix is not None:
        start = prefix.rstrip('.') + '.'
        tensors = {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}
    return tensors


def pretrained_cfg(pretrained: str | None, init_cfg: dict | list | None) -> dict | list | None:
    """``init_cfg``, or what the old argument ``pretrained`` means.

    Raises:
        ArgumentError: both are given.
        TypeError: ``pretrained`` is no string.
    """
    if pretrained is None:
        return init_cfg
    if init_cfg:
        raise ArgumentError('pretrained and init_cfg cannot be given together', received=(pretrained, init_cfg))
    if not isinstance(pretrained, str):
        raise TypeError(f'pretrained must be a str or None, received {pretrained!r}')
    return dict(type='Pretrained', checkpoint=pretrained)
