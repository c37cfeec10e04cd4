"""Multiply-adds and parameters of a model of any layers.

The forward pass runs once on tensors that have shapes but no values (torch's ``FakeTensorMode``), so a count at 800 x 1280
takes a second or two and almost no memory. The operators that run are counted, not the types of layers, so any layer counts
that consists of these operators:

====================  ================================================================================================
kind                  multiply-adds (MACs)
====================  ================================================================================================
``conv``              B * C_out * H_out * W_out * (C_in / groups) * kernel area
``matmul``            rows * inner size * columns: linear layers, and the product at the end of a deformable
                      convolution, which is that of a plain convolution of its shape
``attention``         B * heads * queries * keys * (d_qk + d_v), padded windows included
``sampling``          4 * sampled values: bilinear interpolation weighs four cells for each. Deformable convolution:
                      4 * B * C_in * kernel area * H_out * W_out. Multi-scale deformable attention:
                      4 * B * queries * channels * levels * points (its weights are folded into the four)
====================  ================================================================================================

Normalisation, activations, pooling, resizing, softmax and additions are not counted, as in every published figure.
``macs`` is the sum of the first three, which mmdetection and most papers print as "FLOPs"; compare other counters with
it. ``sampling`` is not part of it, because those counters leave it out. One multiply-add is two operations.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from unittest import mock

import torch
from mmengine.dataset import BaseDataset
from torch import nn
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException, FakeTensorMode
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from ..errors import ConfigError
from ..evaluation.coco_report import format_table

KINDS = ('conv', 'matmul', 'attention', 'sampling')


@dataclass
class PartCost:
    """The cost of one module and its children.

    Attributes:
        name: dotted name inside the model; '' is the model itself.
        type_name: name of its class.
        params: number of parameters; a parameter shared by several modules counts once in each of them.
        trainable: number of parameters with ``requires_grad``.
        kinds: multiply-adds by kind.
    """

    name: str
    type_name: str
    params: int
    trainable: int
    kinds: dict[str, int] = field(default_factory=dict)

    @property
    def macs(self) -> int:
        """Multiply-adds of convolutions, matrix products and attention."""
        return sum(count for kind, count in self.kinds.items() if kind != 'sampling')

    @property
    def flops(self) -> int:
        """Floating-point operations, two per multiply-add."""
        return 2 * self.macs

    @property
    def sampling(self) -> int:
        """Multiply-adds of bilinear sampling, not part of ``macs``."""
        return self.kinds.get('sampling', 0)

    def as_dict(self) -> dict:
        """Plain values for a JSON file."""
        return dict(
            name=self.name, type=self.type_name, params=self.params, trainable_params=self.trainable, macs=self.macs,
            flops=self.flops, sampling_macs=self.sampling, macs_by_kind={kind: self.kinds.get(kind, 0) for kind in KINDS},
        )  # fmt: skip


@dataclass
class FlopsReport:
    """The cost of one image.

    Attributes:
        shape_hw: requested height and width.
        padded_hw: height and width of the network's input, after padding to ``pad_size_divisor``.
        total: the whole model.
        modules: every module by dotted name; of a composite detector, its stages and what is in their detectors.
        passes: of a composite detector, height and width, before padding, of everything that each stage sees of an image.
    """

    shape_hw: tuple[int, int]
    padded_hw: tuple[int, int]
    total: PartCost
    modules: dict[str, PartCost]
    passes: dict[str, list[tuple[int, int]]] = field(default_factory=dict)

    @property
    def macs(self) -> int:
        """Multiply-adds of the whole model; mmdetection calls this number FLOPs."""
        return self.total.macs

    @property
    def flops(self) -> int:
        """Floating-point operations of the whole model, ``2 * macs``."""
        return self.total.flops

    @property
    def params(self) -> int:
        """Parameters of the whole model."""
        return self.total.params

    @property
    def parts(self) -> list[PartCost]:
        """The direct children that compute or have parameters (backbone, neck, head), in order."""
        return self.down_to(1)

    def down_to(self, depth: int) -> list[PartCost]:
        """The modules at most ``depth`` levels below the model that compute or have parameters."""
        chosen = [m for name, m in self.modules.items() if name and name.count('.') < depth]
        return [module for module in chosen if module.params or any(module.kinds.values())]

    def table(self, depth: int = 1) -> str:
        """A text table: a row for each module down to ``depth``, and the total."""
        rows = [['part', 'G MAC', 'GFLOPs', 'sampling G MAC', 'params', 'share of MACs']]
        for part in [*self.down_to(depth), self.total]:
            rows.append([
                '  ' * part.name.count('.') + (part.name.rpartition('.')[2] or 'total'), f'{part.macs / 1e9:.3f}',
                f'{part.flops / 1e9:.3f}', f'{part.sampling / 1e9:.3f}', f'{part.params:,}',
                f'{part.macs / self.macs:.1%}' if self.macs else '-',
            ])  # fmt: skip
        return format_table(rows)

    def as_dict(self, depth: int = 1) -> dict:
        """Plain values for a JSON file, with the modules down to ``depth``."""
        return dict(
            shape_hw=list(self.shape_hw), padded_hw=list(self.padded_hw), total=self.total.as_dict(),
            parts=[part.as_dict() for part in self.down_to(depth)],
            **(dict(passes={name: [list(size) for size in sizes] for name, sizes in self.passes.items()}) if self.passes else {}),
        )  # fmt: skip

    def __str__(self) -> str:
        asked, padded = ('{} x {}'.format(*shape) for shape in (self.shape_hw, self.padded_hw))
        lines = [
            f'input (height x width): {asked}' + (f', padded to {padded}' if padded != asked else ''),
            *(self._stage_line(name) for name in self.passes),
            f'multiply-adds: {self.macs / 1e9:.3f} G ("FLOPs" in mmdetection and most papers)',
            f'FLOPs (2 per multiply-add): {self.flops / 1e9:.3f} G',
        ]
        if self.total.sampling:
            lines.append(f'bilinear sampling, not included above: {self.total.sampling / 1e9:.3f} G multiply-adds')
        lines.append(f'parameters: {self.params:,} ({self.total.trainable:,} trainable)')
        return '\n'.join(lines)

    def _stage_line(self, name: str) -> str:
        sizes = ', '.join(f'{times} of {h} x {w}' for (h, w), times in Counter(self.passes[name]).items())
        return f'  {name}: {sizes}, {self.modules[name].macs / 1e9:.3f} G multiply-adds'


def count_flops(model: nn.Module, shape: int | Sequence[int], *, forward: Callable | None = None) -> FlopsReport:
    """Count the multiply-adds of one image and the parameters.

    The model is neither changed nor moved, and the values of its parameters are not read. It runs in evaluation mode
    and without gradients.

    Args:
        model: a detector (called with ``mode='tensor'``; of two stages, its second sees as many regions as ``test_cfg`` allows); a composite
            detector, each of its stages on what it sees of such an image; or any module together with ``forward``.
        shape: (height, width) of the image, or one number for a square.
        forward: ``forward(model, inputs)`` for other modules; ``inputs`` is (1, 3, H, W) float32.

    Raises:
        ConfigError: the shape is not one or two positive integers, or the model needs real values to run.
    """
    sides = (shape,) if isinstance(shape, int) else tuple(shape)
    if len(sides) not in (1, 2) or not all(isinstance(side, int) and side > 0 for side in sides):
        raise ConfigError('must be one or two positive integers: height, width', field='shape', received=shape)
    shape_hw = sides[0], sides[-1]
    passes = getattr(model, 'stage_passes', None)
    if forward is None and passes:
        return _count_stages(model, shape_hw, passes(shape_hw))
    divisor = getattr(getattr(model, 'data_preprocessor', None), 'pad_size_divisor', 1)
    height, width = (math.ceil(side / divisor) * divisor for side in shape_hw)
    pads: Any = getattr(model, 'input_size_hw', None)  # of a detector that pads by itself
    if pads is not None:
        height, width = pads((height, width))
    if forward is None:
        # Detectors of two stages have a pass of their own: what they compute depends on what the first stage finds.
        whole = getattr(model, 'forward_shapes', None)
        forward = lambda network, inputs: whole(inputs) if whole else network(inputs, mode='tensor')  # noqa: E731
    device = next((parameter.device for parameter in model.parameters()), torch.device('cpu'))
    training = {module: module.training for module in model.modules()}
    counter = _Counter(model)
    model.eval()
    try:
        # The functions of this package that cache tensors do not do so while is_compiling returns True.
        compiling = mock.patch.object(torch.compiler, 'is_compiling', return_value=True)
        with compiling, torch.no_grad(), FakeTensorMode(allow_non_fake_inputs=True):
            inputs = torch.empty(1, 3, height, width, device=device)
            with counter:
                forward(model, inputs)
    except (DataDependentOutputException, DynamicOutputShapeException) as error:
        message = f'cannot be counted: its forward pass depends on values, not only on shapes ({error})'
        raise ConfigError(f'{type(model).__name__} {message}') from error
    finally:
        for module, mode in training.items():
            module.training = mode
    modules = _module_costs(model, counter.counts)
    return FlopsReport(shape_hw, (height, width), modules[''], modules)


def _count_stages(model: nn.Module, shape_hw: tuple[int, int], stages: dict) -> FlopsReport:
    """The cost of a composite detector: that of its detectors, at every size that they see (``stages``, of ``stage_passes``)."""
    total = PartCost('', type(model).__name__, *_parameters(model), Counter())
    modules = {'': total}
    for stage, (detector, sizes) in stages.items():
        for size, times in Counter(sizes).items():
            for inner, part in count_flops(detector, size).modules.items():
                name = f'{stage}.{inner}' if inner else stage
                cost = {kind: times * macs for kind, macs in part.kinds.items()}
                modules.setdefault(name, replace(part, name=name, kinds=Counter())).kinds.update(cost)
        total.kinds.update(modules[stage].kinds)
    return FlopsReport(shape_hw, shape_hw, total, modules, {name: sizes for name, (_, sizes) in stages.items()})


def count_dataset_flops(
    model: nn.Module, dataset: Sequence | BaseDataset, num_images: int = 100
) -> tuple[float, Counter[tuple[int, int]]]:
    """Mean cost of the first images of a dataset, in their sizes after the pipeline, as mmdetection 3.x counts.

    Args:
        model: a detector.
        dataset: gives ``dict(inputs=(3, h, w), ...)``; at most ``num_images`` samples are used.

    Returns:
        Mean multiply-adds of an image, and how many images had each (height, width) after padding.

    Raises:
        ConfigError: ``num_images`` is not positive.
    """
    if num_images < 1:
        raise ConfigError('must be a positive number', field='num_images', received=num_images)
    seen = Counter(tuple(dataset[index]['inputs'].shape[-2:]) for index in range(min(num_images, len(dataset))))
    macs, padded = 0, Counter[tuple[int, int]]()
    for shape_hw, count in seen.items():
        report = count_flops(model, shape_hw)
        macs += count * report.macs
        padded[report.padded_hw] += count
    return macs / seen.total(), padded


def _module_costs(model: nn.Module, counts: dict[str, Counter]) -> dict[str, PartCost]:
    """Costs by dotted name, from the counts of a :class:`_Counter`."""
    costs = {}
    for name, module in model.named_modules():
        kinds = {kind: int(counts[name][kind]) for kind in KINDS if counts[name][kind]}
        costs[name] = PartCost(name, type(module).__name__, *_parameters(module), kinds)
    return costs


def _parameters(module: nn.Module) -> tuple[int, int]:
    """Numbers of all and of trainable parameters."""
    counts = [(parameter.numel(), parameter.requires_grad) for parameter in module.parameters()]
    return sum(count for count, _ in counts), sum(count for count, trains in counts if trains)


class _Counter(TorchDispatchMode):
    """Adds each operator's cost, by dotted name, to all modules that are running and to those that they lie in, whether these were called or not.

    Torch's ``ModuleTracker`` knows the called ones only, and names begin at the first of them: a pass of a detector may call its parts one by one.
    """

    def __init__(self, model: nn.Module):
        super().__init__()
        self.counts: dict[str, Counter] = defaultdict(Counter)
        self._names = {module: name for name, module in model.named_modules()}
        self._running = ['']
        self._hooks: list[Any] = []

    def __enter__(self):
        self._hooks = [
            register_module_forward_pre_hook(lambda module, args: self._running.append(self._names.get(module, ''))),
            register_module_forward_hook(lambda module, args, output: self._end()),
        ]
        return super().__enter__()

    def __exit__(self, *error):
        super().__exit__(*error)
        for hook in self._hooks:
            hook.remove()

    def _end(self) -> None:
        self._running.pop()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        output = func(*args, **kwargs)
        costs = _operator_cost(func._overloadpacket, args, kwargs, output)
        for name in self._open_names() if costs else ():
            self.counts[name].update(costs)
        return output

    def _open_names(self) -> set[str]:
        words = [name.split('.') if name else [] for name in self._running]
        return {'.'.join(parts[:end]) for parts in words for end in range(len(parts) + 1)}


def _operator_cost(operator, args, kwargs, output) -> dict[str, int]:
    """Multiply-adds of one call by kind; empty for operators that are not counted."""
    name = str(operator)
    if name in ('aten._embedding_bag', 'aten._embedding_bag_forward_only'):
        # Both deformable operators sum weighted rows of a table: one multiply-add an index and channel.
        table, rows = args[0], args[1]
        weighted = (args[6] if len(args) > 6 else kwargs.get('per_sample_weights')) is not None
        return dict(sampling=rows.numel() * table.shape[1]) if weighted else {}
    if name == 'torchvision.deform_conv2d':
        inputs, weight = args[0], args[1]
        locations = output.numel() // output.shape[1]
        points = weight.shape[2] * weight.shape[3]
        return dict(matmul=locations * weight.numel(), sampling=4 * locations * inputs.shape[1] * points)
    if name == 'aten.grid_sampler_2d':
        return dict(sampling=4 * output.numel())
    if name == 'aten._scaled_dot_product_flash_attention_for_cpu':  # the registry has only the GPU operators
        operator = torch.ops.aten._scaled_dot_product_flash_attention
    if operator not in flop_registry:
        return {}
    kind = 'conv' if 'conv' in name else 'attention' if 'attention' in name else 'matmul'
    return {kind: flop_registry[operator](*args, **kwargs, out_val=output) // 2}
