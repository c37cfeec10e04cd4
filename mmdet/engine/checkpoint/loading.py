"""Loading into a model what :mod:`~mmdet.engine.checkpoint.reading` gave, with a report."""

import re
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from mmcv.cnn import ConvModule
from mmengine.model import BaseTTAModel, is_model_wrapper
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ...errors import CheckpointError
from .names import OPTIONAL_SUFFIXES, rename_reference_keys
from .reading import is_finite

_LISTED_NAMES = 40
# The weights of a layer for classes. Detectors of the library transformers have lists of them, and an embedding for denoising with a row more.
_CLASS_LAYER = re.compile(r'(?:^|\.)(?!denoising)[^.]*(?:cls|class)[^.]*(?:\.layers)?(?:\.\d+)?\.weight$')
_NORM_EPS = 1e-5  # of every batch norm that a config of this package can leave out


@dataclass
class LoadReport:
    """What :func:`load_into` found.

    Attributes:
        loaded: number of tensors copied.
        missing: names that the model has and the checkpoint lacks.
        unexpected: names that the checkpoint has and the model lacks.
        mismatched: ``(name, shape in the checkpoint, shape in the model)``.
        renamed: ``(old, new)`` of the older projects' names.
        notes: messages of parts of the model that adapted the checkpoint to themselves.
    """

    loaded: int = 0
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    mismatched: list[tuple[str, tuple, tuple]] = field(default_factory=list)
    renamed: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Every tensor of the model was found with its shape."""
        return not self.missing and not self.mismatched

    @property
    def exact(self) -> bool:
        """Complete, and nothing was left over."""
        return self.complete and not self.unexpected

    def lines(self) -> list[str]:
        """The problems, one line for each name; the class-count explanation first where it applies."""
        counts = {
            (old[0], new[0]): name
            for name, old, new in reversed(self.mismatched)
            if _CLASS_LAYER.search(name) and old[1:] == new[1:]
        }
        lines = [
            f'the checkpoint has {old} class channels ({name}), the model {new}: check num_classes of the head'
            for (old, new), name in counts.items()
        ]
        groups = (
            [f'shape differs: {name}: checkpoint {old}, model {new}' for name, old, new in self.mismatched],
            [f'missing in the checkpoint: {name}' for name in self.missing],
            [f'not in the model: {name}' for name in self.unexpected],
        )
        for group in groups:
            lines += group[:_LISTED_NAMES]
        hidden = sum(max(0, len(group) - _LISTED_NAMES) for group in groups)
        return lines + ([f'... and {hidden} more'] if hidden else [])


def load_into(
    model: nn.Module,
    state_dict: Mapping,
    *,
    strict: bool = False,
    complete: bool = False,
    before_loading: Callable[[OrderedDict], OrderedDict] | None = None,
    by_name: Callable[[nn.Module, OrderedDict], None] | None = None,
) -> LoadReport:
    """Load a state dict into a model, after the renames of the older projects; every load of the package ends here.

    Tensors whose shape differs are left out (and reported), the rest is loaded. Constants and counters
    (``num_batches_tracked``, ``integral.project``) may be absent.

    Args:
        model: a model, possibly inside a DDP or test-time-augmentation wrapper.
        state_dict: names to tensors; left untouched.
        strict: raise unless the names and shapes agree exactly. Nothing is loaded then.
        complete: raise unless every tensor of the model is there; leftovers are allowed.
        before_loading: given the renamed state dict once it is known to fit; gives the one to load, of the same names
            and shapes.
        by_name: given the model and the renamed state dict, before shapes are compared; rearranges the rows of classes, see
            :class:`~mmdet.engine.checkpoint.class_rows.ClassRows`.

    Raises:
        CheckpointError: see ``strict`` and ``complete``; lists name by name, with both shapes. Or nothing fits, or a tensor that would be
            loaded is not finite, or holds another kind of number.
    """
    model = unwrap(model)
    state, renamed = rename_reference_keys(state_dict)
    notes: list[str] = []
    if getattr(model, 'only_detector', None):  # its parts get their names before the other steps look for them
        notes += cast(Any, model).adapt_state_dict(state, '')
        if any(new not in state for _, new in renamed):  # its own checkpoint has its names back
            notes, renamed = [], [pair for pair in renamed if pair[1] in state]
    if by_name is not None:
        by_name(model, state)
    notes += adapt_to_model(model, state)
    report = compare(model, state, strict=strict, complete=complete)
    if not report.loaded:
        raise CheckpointError('no tensor of the checkpoint fits the model', received=list(state_dict)[:5])
    report.renamed, report.notes = renamed, notes + _check_values(model, state)
    if before_loading is not None:
        state = before_loading(state)
    for name, *_ in report.mismatched:
        state.pop(name, None)
    model.load_state_dict(state, strict=False)
    return report


def match_stages(model: nn.Module, meta: Mapping) -> list[str]:
    """Tell a composite detector the class names of its stages, where its checkpoint says that they differ; returns what is not equal."""
    names, match = meta.get('stage_classes'), getattr(unwrap(model), 'match_stage_classes', None)
    return match(names) if callable(match) and isinstance(names, Mapping) and {'coarse', 'fine'} <= set(names) else []


def unwrap(model: nn.Module) -> nn.Module:
    """The model inside its DDP and test-time-augmentation wrappers, if it has any."""
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = cast(nn.Module, model.module)
    return model


def compare(model: nn.Module, state_dict: Mapping, *, strict: bool = False, complete: bool = False) -> LoadReport:
    """Names and shapes of a state dict against those of a model, without loading; arguments of :func:`load_into`."""
    own = model.state_dict()
    report = LoadReport()
    for name, value in own.items():
        if name not in state_dict:
            if not name.endswith(OPTIONAL_SUFFIXES):
                report.missing.append(name)
        elif tuple(state_dict[name].shape) != tuple(value.shape):
            report.mismatched.append((name, tuple(state_dict[name].shape), tuple(value.shape)))
        else:
            report.loaded += 1
    report.unexpected = [name for name in state_dict if name not in own]
    if (strict and not report.exact) or (complete and not report.complete):
        raise CheckpointError('the checkpoint does not fit the model:\n  ' + '\n  '.join(report.lines()))
    return report


def _check_values(model: nn.Module, state_dict: Mapping) -> list[str]:
    """Refuse tensors that would make the model useless; returns a note for each precision other than the model's."""
    wrong: list[str] = []
    stored: Counter[tuple[torch.dtype, torch.dtype]] = Counter()
    for name, own in model.state_dict().items():
        value = state_dict.get(name)
        if value is None or value.shape != own.shape or name.endswith(OPTIONAL_SUFFIXES):
            continue
        if value.is_floating_point() != own.is_floating_point() or value.is_complex() != own.is_complex():
            wrong.append(f'{name}: holds {value.dtype}, the model {own.dtype}')
        elif value.layout != own.layout or value.is_meta != own.is_meta:
            wrong.append(f'{name}: holds no plain numbers ({value.layout}, {value.device})')
        elif not is_finite(value.to(own.dtype)) and is_finite(own):
            wrong.append(f'{name}: is not finite')
        elif value.is_floating_point() and value.dtype != own.dtype:
            stored[value.dtype, own.dtype] += 1
    if wrong:
        hidden = [f'... and {len(wrong) - _LISTED_NAMES} more'] if len(wrong) > _LISTED_NAMES else []
        raise CheckpointError('its weights cannot be used:\n  ' + '\n  '.join(wrong[:_LISTED_NAMES] + hidden))
    return [
        f'the checkpoint stores {count} tensors in {str(of)[6:]}, the model has {str(to)[6:]}: they are converted'
        for (of, to), count in stored.items()
    ]


def adapt_to_model(model: nn.Module, state_dict: dict) -> list[str]:
    """Let the parts of a model fit a state dict to themselves, before shapes are compared.

    A module that can read more than one layout (81 class channels, deformable layers of version 1 or 2) defines
    ``adapt_state_dict(state_dict, prefix) -> list[str]``: it edits the entries under ``prefix`` in place, or itself,
    and returns notes for the report.
    """
    notes = _unfold_norms(model, state_dict) + _fold_norms(model, state_dict)
    for name, module in model.named_modules():
        adapt = getattr(module, 'adapt_state_dict', None)
        if callable(adapt):
            notes += adapt(state_dict, f'{name}.' if name else '') or []
    return notes


def _unfold_norms(model: nn.Module, state_dict: dict) -> list[str]:
    """Give batch norms that a checkpoint has folded into their convolutions values by which they add nothing but the bias; in place."""
    count = 0
    for conv_name, norm_name, norm in _convs_with_norms(model):
        bias = state_dict.get(f'{conv_name}.bias')
        if bias is None or bias.shape != norm.bias.shape or f'{norm_name}.weight' in state_dict:
            continue
        ones = torch.ones_like(norm.running_var, device=bias.device)
        state_dict[f'{norm_name}.weight'] = (ones + norm.eps).sqrt()
        state_dict[f'{norm_name}.bias'] = state_dict.pop(f'{conv_name}.bias')
        state_dict[f'{norm_name}.running_mean'], state_dict[f'{norm_name}.running_var'] = torch.zeros_like(ones), ones
        count += 1
    note = (
        f'{count} batch norms were folded into their convolutions: their biases are loaded, their statistics are lost. To train from here, '
        'build the model without these norms (norm_cfg=None) or keep them in eval mode'
    )
    return [note] if count else []


def _fold_norms(model: nn.Module, state_dict: dict) -> list[str]:
    """Fold batch norms of a checkpoint that a model was built without into the convolutions before them, whose bias it has; in place."""
    parts = ('weight', 'bias', 'running_mean', 'running_var')
    count = 0
    for name, module in model.named_modules():
        conv, norm = (f'{name}.{part}' if name else part for part in ('conv', 'bn'))
        stored = [state_dict.get(key) for key in (f'{conv}.weight', *(f'{norm}.{part}' for part in parts))]
        if (
            not isinstance(module, ConvModule) or module.with_norm or module.conv.bias is None
            or f'{conv}.bias' in state_dict or any(value is None for value in stored)
        ):  # fmt: skip
            continue
        weight, scale, shift, mean, variance = (value.float() for value in cast(list[torch.Tensor], stored))
        factor = scale / (variance + _NORM_EPS).sqrt()
        state_dict[f'{conv}.weight'] = weight * factor.view(-1, *[1] * (weight.dim() - 1))
        state_dict[f'{conv}.bias'] = shift - mean * factor
        for part in (*parts, 'num_batches_tracked'):
            state_dict.pop(f'{norm}.{part}', None)
        count += 1
    return (
        [f'{count} batch norms, which the model is built without, are folded into their convolutions'] if count else []
    )


def _convs_with_norms(model: nn.Module) -> Iterator[tuple[str, str, Any]]:
    """Names of the convolutions without bias that a batch norm follows, of that norm, and the norm itself."""
    for name, module in model.named_modules():
        pairs: list[tuple[str, str]] = []
        if isinstance(module, ConvModule) and module.with_norm:
            pairs = [('conv', module.norm_name)]
        elif isinstance(module, nn.Sequential):
            names = [child for child, _ in module.named_children()]
            pairs = list(zip(names, names[1:]))
        prefix = f'{name}.' if name else ''
        for first, second in pairs:
            conv, norm = getattr(module, first), getattr(module, second)
            if (
                isinstance(norm, _BatchNorm)
                and norm.affine
                and norm.track_running_stats
                and getattr(conv, 'bias', 0) is None
            ):
                yield prefix + first, prefix + second, norm
