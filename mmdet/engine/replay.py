"""A training step whose loss is not finite, kept in one file that computes it again.

The batch is kept as the model got it (normalised and padded); random numbers, buffers and plain attributes of modules are those before the forward
pass. Only a step that fails is written. A file holds tensors and plain values, and reading it runs nothing that is in it.
"""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import ConfigDict
from mmengine.dist import get_dist_info
from mmengine.model import revert_sync_batchnorm
from mmengine.runner import Runner
from mmengine.structures import BaseDataElement, InstanceData, PixelData
from torch import nn

from ..errors import CheckpointError
from ..registry import MODELS
from ..structures import DetDataSample
from ..version import release
from .checkpoint.loading import compare, unwrap
from .checkpoint.reading import is_finite, load_checkpoint_file
from .checkpoint.saving import save_atomically, to_plain

_ELEMENTS = {kind.__name__: kind for kind in (DetDataSample, InstanceData, PixelData, BaseDataElement)}
_PLAIN = (bool, int, float)
# A batch norm that updates these does not read them.
_STATISTICS = ('running_mean', 'running_var', 'num_batches_tracked')


class StepWatch:
    """Keeps what the last forward pass of a training was given, and the parts of its loss, until :meth:`clear`."""

    def __init__(self, model: nn.Module):
        self.model = unwrap(model)
        self.parts: dict | None = None
        self.given: dict | None = None
        modules = list(self.model.named_modules())
        self._attributes = [
            (name, vars(module), [key for key, value in vars(module).items() if type(value) in _PLAIN])
            for name, module in modules
            if not isinstance(module, (nn.modules.conv._ConvNd, nn.ReLU))  # the many that have nothing to tell
        ]
        self._buffers = [
            (f'{name}.{key}' if name else key, module._buffers, key)
            for name, module in modules
            for key, value in module._buffers.items()
            if value is not None and not (isinstance(module, nn.modules.batchnorm._BatchNorm) and key in _STATISTICS)
        ]
        self._hooks = [
            self.model.register_forward_pre_hook(self._before, with_kwargs=True),
            self.model.register_forward_hook(self._after),
        ]

    def remove(self) -> None:
        """Stop watching."""
        for hook in self._hooks:
            hook.remove()

    def clear(self) -> None:
        """Forget the step, whose batch takes memory."""
        self.parts = self.given = None

    def _before(self, _module: nn.Module, args: tuple, kwargs: dict) -> None:
        if torch.is_grad_enabled():
            self.given = dict(
                batch=(args, kwargs),
                random=_random_state(),
                attributes={name: {key: values[key] for key in keys} for name, values, keys in self._attributes},
                buffers={name: owner[key].detach().clone() for name, owner, key in self._buffers},
            )

    def _after(self, _module: nn.Module, _args: tuple, output: object) -> None:
        if isinstance(output, dict) and torch.is_grad_enabled():
            self.parts = _detached(output)


def write_step(runner: Runner, watch: StepWatch) -> Path:
    """Write ``nonfinite_ITERATION_rankRANK.pth`` into the work folder: all that :func:`replay_loss` needs.

    Args:
        runner: the training that stops.
        watch: what its last step was given. The weights are those of before the step, since the optimizer has not moved.

    Raises:
        CheckpointError: the file cannot be written.
    """
    rank, world_size = get_dist_info()
    assert watch.given is not None
    step = dict(watch.given, parts=watch.parts)
    weights = {**watch.model.state_dict(), **step['buffers']}
    wrapper = runner.optim_wrapper
    cast = getattr(wrapper, 'cast_dtype', None)
    content = dict(
        meta=dict(
            iteration=runner.iter + 1, epoch=runner.epoch + 1, rank=rank, world_size=world_size, seed=runner.seed,
            autocast=cast, threads=torch.get_num_threads(), torch=torch.__version__, mmdet_version=release,
            cfg=to_plain(runner.cfg.to_dict(), unknown=_type_path),
        ),
        state_dict={name: value for name, value in weights.items() if isinstance(value, torch.Tensor)},
        not_finite=[name for name, value in _tensors(weights) if not is_finite(value) and not name.endswith(_STATISTICS)],
        step=_pack(step),
    )  # fmt: skip
    path = Path(runner.work_dir) / f'nonfinite_{runner.iter + 1}_rank{rank}.pth'
    save_atomically(to_plain(content), path)
    return path


@dataclass
class Replay:
    """A step that was computed again.

    Attributes:
        meta: iteration, rank and settings of the training.
        recorded, replayed: the parts of the loss by name, then and now.
        inputs: names of the tensors of the batch that are not finite.
        weights: names of the parameters and buffers that are not finite.
        modules: modules whose output is not finite, the first one first: name and type.
        gradients: parameters whose gradient is not finite; only looked for where the loss is finite.
    """

    meta: dict
    recorded: dict[str, torch.Tensor]
    replayed: dict[str, torch.Tensor]
    inputs: list[str]
    weights: list[str]
    modules: list[str] = field(default_factory=list)
    gradients: list[str] = field(default_factory=list)

    @property
    def same(self) -> bool:
        """Whether all parts of the loss are those of the training, bit for bit."""
        return self.recorded.keys() == self.replayed.keys() and all(
            _equal(value, self.replayed[name]) for name, value in self.recorded.items()
        )

    def lines(self) -> list[str]:
        """The findings, for people."""
        meta = self.meta
        lines = [f'iteration {meta["iteration"]}, rank {meta["rank"]} of {meta["world_size"]}']
        for name in {**self.recorded, **self.replayed}:
            values = [_shown(parts.get(name)) for parts in (self.recorded, self.replayed)]
            lines.append(f'{name}: {values[0]} in the training, {values[1]} now')
        lines.append('the parts of the loss are the same' if self.same else 'the parts of the loss DIFFER')
        for what, names in (('the batch', self.inputs), ('the weights', self.weights), ('gradients', self.gradients)):
            if names:
                lines.append(f'not finite in {what}: {", ".join(names[:10])}{", ..." if len(names) > 10 else ""}')
        first = self.modules[0] if self.modules else 'none, the loss is computed from finite outputs'
        return [*lines, f'first module whose output is not finite: {first}']


def replay_loss(path: str | Path, *, config: ConfigDict | None = None, device: str = 'cpu') -> Replay:
    """Compute the step of a file of :func:`write_step` again: its model, its weights, its batch, its random numbers.

    On the CPU, with one process, the parts of the loss are those of the training bit for bit, where that ran on a CPU too. What processes average
    over each other (the number of positives) is each one's own here.

    Args:
        path: the file.
        config: config of the model; None takes the one in the file. The modules of its ``custom_imports`` must have been imported.
        device: where to compute.

    Raises:
        CheckpointError: the file is damaged, is another kind of file, or does not fit the model.
        ConfigError: the model cannot be built.
    """
    content = load_checkpoint_file(path)
    if not isinstance(content.get('step'), Mapping):
        raise CheckpointError('is no file of a training step (nonfinite_*_rank*.pth)', file=path)
    meta = content['meta']
    threads = torch.get_num_threads()
    try:
        step = _unpack(content['step'], device)
        args, kwargs = step['batch']
        model_config = (meta['cfg'] if config is None else config)['model']
        recorded = dict(_tensors(step['parts']))
        cast = None if meta['autocast'] is None else getattr(torch, meta['autocast'].removeprefix('torch.'))
        torch.set_num_threads(meta['threads'])
        result = Replay(meta, recorded, {}, [], list(content['not_finite']))
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        message = f'is damaged ({type(error).__name__}: {error}), or its config has no model: give the config'
        raise CheckpointError(message, file=path) from error
    try:
        model = MODELS.build(ConfigDict(model_config))
        compare(model, content['state_dict'], complete=True)
        # Not by load_into, which refuses weights that are not finite.
        model.load_state_dict(content['state_dict'], strict=False)
        model = (model if torch.device(device).type == 'cuda' else revert_sync_batchnorm(model)).to(device).train()
        modules, buffers = dict(model.named_modules()), dict(model.named_buffers())
        for name, values in step['attributes'].items():
            vars(modules.get(name, model)).update(values)
        for name, value in step['buffers'].items():
            buffers[name].copy_(value)
        result.inputs = [name for name, value in _tensors(dict(args=args, **kwargs)) if not is_finite(value)]

        def look(module: nn.Module, _args: tuple, output: object) -> None:
            if not all(is_finite(value) for _, value in _tensors(output)):
                result.modules.append(f'{names[module]} ({type(module).__name__})')

        names = {module: name for name, module in modules.items() if name}
        for module in names:
            module.register_forward_hook(look)
        _restore_random_state(step['random'])
        with torch.autocast(torch.device(device).type, dtype=cast, enabled=cast is not None):
            losses = model(*args, **kwargs)
        result.replayed = dict(_tensors(_detached(losses)))
        if all(map(is_finite, result.replayed.values())):
            model.parse_losses(losses)[0].backward()
            gradients = {name: value.grad for name, value in model.named_parameters() if value.grad is not None}
            result.gradients = [name for name, value in gradients.items() if not is_finite(value)]
    finally:
        torch.set_num_threads(threads)
    return result


def _random_state() -> dict:
    cuda = torch.cuda.get_rng_state() if torch.cuda.is_initialized() else None
    return dict(python=random.getstate(), numpy=np.random.get_state(), torch=torch.get_rng_state(), cuda=cuda)


def _restore_random_state(state: dict) -> None:
    random.setstate(state['python'])
    np.random.set_state(state['numpy'])
    torch.set_rng_state(state['torch'].cpu())
    if state['cuda'] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state['cuda'].cpu())


def _detached(value: Any) -> Any:
    """Tensors inside dicts and lists without their graph."""
    if isinstance(value, Mapping):
        return {key: _detached(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_detached(item) for item in value]
    return value.detach() if isinstance(value, torch.Tensor) else value


def _pack(value: Any) -> Any:
    """Data elements and arrays as dicts, everything else as :func:`to_plain` has it; what has no plain form becomes None."""
    if isinstance(value, BaseDataElement):
        kind = next(kind.__name__ for kind in type(value).__mro__ if kind.__name__ in _ELEMENTS)
        return dict(_element=kind, metainfo=_pack(dict(value.metainfo_items())), fields=_pack(dict(value.items())))
    if isinstance(value, np.ndarray):
        return dict(_array=value.tolist(), dtype=str(value.dtype))
    if isinstance(value, Mapping):
        return {key: _pack(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_pack(item) for item in value] if isinstance(value, list) else tuple(map(_pack, value))
    return to_plain(value, unknown=lambda _where, _value: None)


def _unpack(value: Any, device: str) -> Any:
    if isinstance(value, Mapping) and '_element' in value:
        element = _ELEMENTS[value['_element']](metainfo=_unpack(value['metainfo'], device))
        for name, item in value['fields'].items():
            setattr(element, name, _unpack(item, device))
        return element
    if isinstance(value, Mapping) and '_array' in value:
        return np.array(value['_array'], dtype=value['dtype'])
    if isinstance(value, Mapping):
        return {key: _unpack(item, device) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_unpack(item, device) for item in value)
    return value.to(device) if isinstance(value, torch.Tensor) else value


def _type_path(_where: str, value: object) -> str:
    """A class in a config as the text that the registries take."""
    return f'{getattr(value, "__module__", "")}.{getattr(value, "__qualname__", value)}'


def _tensors(value: Any, name: str = '') -> Iterator[tuple[str, torch.Tensor]]:
    """Names and tensors inside dicts, lists and data elements: ``data_samples.0.gt_instances.bboxes``."""
    if isinstance(value, torch.Tensor):
        yield name, value
    elif isinstance(value, Mapping | BaseDataElement | list | tuple):
        pairs = enumerate(value) if isinstance(value, list | tuple) else value.items()
        for key, item in pairs:
            yield from _tensors(item, f'{name}.{key}' if name else str(key))


def _equal(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether shape, type and values agree, NaN with NaN."""
    one, other = one.cpu(), other.cpu()
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    return bool(((one == other) | (one.isnan() & other.isnan())).all())


def _shown(value: torch.Tensor | None) -> str:
    return 'absent' if value is None else f'{value.float().mean().item():.9g}'
