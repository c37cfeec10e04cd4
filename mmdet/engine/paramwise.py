"""Learning rates, weight decay and freezing of parts of a model, by ``optim_wrapper.paramwise_cfg``."""

import difflib
from collections import Counter
from collections.abc import Iterator
from typing import Any

from mmengine.logging import print_log
from mmengine.optim import DefaultOptimWrapperConstructor as MMEngineConstructor
from mmengine.optim import OptimWrapper
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from ..errors import ConfigError
from ..ops import DeformConv2d
from ..registry import OPTIM_WRAPPER_CONSTRUCTORS
from ..utils.checks import is_finite
from .freezing import freeze_norm, near_parts, norms_of, refuse_frozen_model

_FIELD = 'optim_wrapper.paramwise_cfg'
_OPTIONS = (
    'custom_keys', 'bias_lr_mult', 'bias_decay_mult', 'norm_decay_mult', 'flat_decay_mult', 'dwconv_decay_mult', 'dcn_offset_lr_mult', 'bypass_duplicate',
)  # fmt: skip
# The translation of configs of mmdetection 1.x adds this key, whatever the backbone.
_OF_OLD_CONFIGS = 'downsample.1.bias'
_KEY_OPTIONS = ('lr_mult', 'decay_mult', 'requires_grad')
_NAME = 'name of the parameter'  # in its group, until those of the whole model are there


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class DefaultOptimWrapperConstructor(MMEngineConstructor):
    """mmengine's constructor, whose ``custom_keys`` can freeze, and which refuses what has no effect.

    ``custom_keys=dict(neck=dict(requires_grad=False))`` freezes the parameters whose names contain the key: they leave the optimizer, and
    batch norms all of whose parameters are frozen keep their statistics, also when the model is put into training mode. As with the
    other options, the longest key that a name contains decides: ``{'backbone': dict(requires_grad=False), 'backbone.layer4':
    dict(lr_mult=0.1)}`` trains ``layer4``. ``requires_grad=True`` is such an exception without another option.

    ``dcn_offset_lr_mult`` applies to the layers that compute the offsets of deformable convolutions.

    A parameter that several modules share is trained once, as if ``bypass_duplicate=True``: it follows the longest key of all its names, or else the
    rules of the first.

    Raises:
        ConfigError: a key that no parameter's name contains, or whose parameters are all frozen already or follow longer keys; an option
            that is unknown, or that applies to no layer of the model; nothing is left to train.
    """

    paramwise_cfg: Any  # a dict, or None

    def __call__(self, model: nn.Module) -> OptimWrapper:
        """Freeze, and build the optimizer of the rest."""
        inner: Any = getattr(model, 'module', model)
        self._check(inner)
        if self.paramwise_cfg:  # mmengine's own way is slow, and takes the first name alone
            self.paramwise_cfg = {
                name: value for name, value in self.paramwise_cfg.items() if name != 'bypass_duplicate'
            }
        self._freeze(inner)
        refuse_frozen_model(inner, f'{_FIELD}.custom_keys')
        wrapper = super().__call__(model)
        self._check_defaults(wrapper)
        return wrapper

    @property
    def _keys(self) -> dict[str, dict]:
        return (self.paramwise_cfg or {}).get('custom_keys') or {}

    def _validate_cfg(self) -> None:
        if not isinstance(self.paramwise_cfg, dict | None):
            raise ConfigError('must be a dict', field=_FIELD, received=self.paramwise_cfg)
        keys = (self.paramwise_cfg or {}).get('custom_keys', {})
        if not isinstance(keys, dict) or not all(isinstance(key, str) for key in keys):
            raise ConfigError('must be a dict, part of a name -> options', field=f'{_FIELD}.custom_keys', received=keys)
        super()._validate_cfg()

    def _check(self, model: nn.Module) -> None:
        if not self.paramwise_cfg:
            return
        unknown = [name for name in self.paramwise_cfg if name not in self._known_options()]
        if unknown:
            near = difflib.get_close_matches(unknown[0], self._known_options())
            hint = f'near names: {", ".join(near)}' if near else f'must be one of {", ".join(self._known_options())}'
            raise ConfigError(f'no option of this name; {hint}', field=_FIELD, received=unknown[0])
        _check_factors({name: value for name, value in self.paramwise_cfg.items() if value is not None}, _FIELD)
        self._check_keys(model)
        for option, (what, found) in _TARGETS.items():
            if self.paramwise_cfg.get(option) not in (None, 1) and next(found(model), None) is None:
                raise ConfigError(f'has no effect: the model has no {what} to train', field=f'{_FIELD}.{option}')

    def _known_options(self) -> tuple[str, ...]:
        return _OPTIONS

    def _check_keys(self, model: nn.Module) -> None:
        names = _names_of(model)
        keys = {parameter: self._key_of(*own) for parameter, own in names.items()}
        decided = Counter(keys.values())
        trained = Counter(key for parameter, key in keys.items() if parameter.requires_grad)
        every = [name for own in names.values() for name in own]
        for key, options in self._keys.items():
            field = f'{_FIELD}.custom_keys.{key}'
            if not isinstance(options, dict) or not options:
                raise ConfigError(f'must be a dict of {", ".join(_KEY_OPTIONS)}', field=field, received=options)
            _check_factors(options, field)
            if not any(_contains(name, key) for name in every):
                if key == _OF_OLD_CONFIGS:
                    continue
                raise ConfigError(
                    f'no parameter of the model has this in its name; {near_parts(key, every)}', field=field
                )
            if not decided[key]:
                longer = [other for other in self._keys if key in other and other != key]
                message = f'has no effect: all its parameters follow longer keys ({", ".join(longer) or "of the same length"})'
                raise ConfigError(message, field=field)
            if not trained[key] and options.get('requires_grad', True) is not False:
                message = (
                    f'has no effect: its {decided[key]} parameters are frozen already (frozen_stages of the backbone?)'
                )
                raise ConfigError(message, field=field, received=dict(options))
            if not isinstance(options.get('requires_grad', True), bool):
                raise ConfigError(
                    'must be True or False', field=f'{field}.requires_grad', received=options['requires_grad']
                )
            if options.get('requires_grad') is False and (
                useless := [name for name in options if name != 'requires_grad']
            ):
                message = 'has no effect on parameters that are frozen (requires_grad=False beside it)'
                raise ConfigError(message, field=f'{field}.{useless[0]}', received=options[useless[0]])

    def _key_of(self, *names: str) -> str | None:
        """The key that decides for a parameter, by mmengine's rule: the longest one that a name of it contains, of equal length the first by alphabet."""
        keys = [key for key in self._keys if any(_contains(name, key) for name in names)]
        return min(keys, key=lambda key: (-len(key), key)) if keys else None

    def _freezes(self, *names: str) -> bool:
        key = self._key_of(*names)
        return key is not None and self._keys[key].get('requires_grad') is False

    def _freeze(self, model: nn.Module) -> None:
        if not any(options.get('requires_grad') is False for options in self._keys.values()):
            return
        counts: Counter[str | None] = Counter()
        for parameter, names in _names_of(model).items():
            if self._freezes(*names):
                parameter.requires_grad_(False)
                counts[self._key_of(*names)] += 1
        norms = 0
        for name, norm in norms_of(model):
            own = [f'{name}.{leaf}' for leaf, _ in norm.named_parameters(recurse=False)] or [f'{name}.']
            if all(map(self._freezes, own)):
                freeze_norm(norm)
                norms += 1
        parts = ', '.join(f'{key} ({count} parameters)' for key, count in counts.items())
        print_log(f'Frozen by custom_keys: {parts}; {norms} batch norms keep their statistics', logger='current')

    def add_params(
        self, params: list[dict], module: nn.Module, prefix: str = '', is_dcn_module: int | float | None = None
    ) -> None:
        """Add the groups of a module's parameters that are trained to ``params``."""
        start = len(params)
        super().add_params(params, module, prefix=prefix, is_dcn_module=is_dcn_module)
        names = {
            parameter: f'{prefix}.{name}'.lstrip('.') for name, parameter in module.named_parameters(recurse=False)
        }
        for group in params[start:]:
            group.pop('requires_grad', None)  # what mmengine leaves there would be a setting of the optimizer
            group.setdefault(_NAME, names.get(group['params'][0]))  # that of a child has its name already
        if not prefix:
            params[start:] = self._once(params[start:])
            self._set_missed(params[start:], module)

    def _set_missed(self, groups: list[dict], model: nn.Module) -> None:
        """Set what mmengine sets for no layer of these kinds: offsets of deformable convolutions of this package, root-mean-square norms."""
        offset, decay = (self.paramwise_cfg.get(name) for name in ('dcn_offset_lr_mult', 'norm_decay_mult'))
        rules: list[tuple[Any, str, float]] = []
        if offset is not None:
            rules.append((_offsets, 'lr', self.base_lr * offset))
        if decay is not None and self.base_wd is not None:
            rules.append((_rms_norms, 'weight_decay', self.base_wd * decay))
        for find, option, value in rules:
            own = {id(parameter) for name, parameter in find(model) if self._key_of(name) is None}
            for group in groups:
                if any(id(parameter) in own for parameter in group['params']):
                    group[option] = value

    def _once(self, groups: list[dict]) -> list[dict]:
        """One group of each parameter, without its name: that of the name whose key decides, otherwise the first."""
        chosen: dict[nn.Parameter, dict] = {}
        shared: dict[nn.Parameter, list[str]] = {}
        for group in groups:
            parameter, name = group['params'][0], group.pop(_NAME)
            names = shared.setdefault(parameter, [])
            before = self._key_of(*names)
            names.append(name)
            if parameter not in chosen or self._key_of(*names) != before:
                chosen[parameter] = group
        several = [names for names in shared.values() if len(names) > 1]
        if several:
            example = ' = '.join(several[0])
            print_log(
                f'{len(several)} parameters with several names ({example}, ...) are trained once', logger='current'
            )
        return list(chosen.values())

    def _check_defaults(self, wrapper: OptimWrapper) -> None:
        """Refuse options of a key that the optimizer does not know: in its groups they would lie without effect."""
        known = set(getattr(wrapper.optimizer, 'defaults', {})) | set(_KEY_OPTIONS)
        for key, options in self._keys.items():
            for name in options:
                if name not in known:
                    near = difflib.get_close_matches(name, known)
                    hint = f'near names: {", ".join(near)}' if near else f'must be one of {", ".join(_KEY_OPTIONS)}'
                    message = f'{type(wrapper.optimizer).__name__} has no option of this name; {hint}'
                    raise ConfigError(message, field=f'{_FIELD}.custom_keys.{key}', received=name)


def _check_factors(options: dict, field: str) -> None:
    """ConfigError for a factor (``..._mult``) that is no number of 0 or more; one below 0 would climb the loss."""
    for name, value in options.items():
        if name.endswith('_mult') and not (is_finite(value) and value >= 0):
            raise ConfigError('must be a number >= 0', field=f'{field}.{name}', received=value)


def _names_of(model: nn.Module) -> dict[nn.Parameter, list[str]]:
    """All names of each parameter: several of one that modules share."""
    names: dict[nn.Parameter, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(parameter, []).append(name)
    return names


def _contains(name: str, key: str) -> bool:
    # mmengine looks for keys in '<module>.<parameter>', which begins with a dot for parameters of the model itself.
    return key in (name if '.' in name else f'.{name}')


def _trained(model: nn.Module, kinds: Any) -> Iterator[nn.Module]:
    """The modules of some kinds that have trained parameters of their own."""
    for part in model.modules():
        if isinstance(part, kinds) and any(parameter.requires_grad for parameter in part.parameters(recurse=False)):
            yield part


def _offsets(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    for name, part in model.named_modules():
        for leaf, parameter in part.named_parameters() if isinstance(part, DeformConv2d) else ():
            if 'conv_offset' in leaf and parameter.requires_grad:
                yield f'{name}.{leaf}', parameter


def _rms_norms(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Those of torch, and those that the models of transformers have as classes of their own, by the end of their names."""
    for name, part in model.named_modules():
        if type(part).__name__.endswith('RMSNorm'):
            for leaf, parameter in part.named_parameters(name, recurse=False):
                if parameter.requires_grad:
                    yield leaf, parameter


def _norms(model: nn.Module) -> Iterator[Any]:
    yield from _trained(model, (_NormBase, nn.GroupNorm, nn.LayerNorm))
    yield from _rms_norms(model)


def _depthwise(model: nn.Module) -> Iterator[nn.Module]:
    return (part for part in _trained(model, nn.Conv2d) if part.in_channels == part.groups)


def _biases(model: nn.Module) -> Iterator[nn.Parameter]:
    return (p for name, p in model.named_parameters() if name.rpartition('.')[2] == 'bias' and p.requires_grad)


# option -> what it applies to, for the message, and how that is found
_TARGETS: dict[str, tuple[str, Any]] = {
    'bias_lr_mult': ('bias', _biases),
    'bias_decay_mult': ('bias', _biases),
    'norm_decay_mult': ('norm', _norms),
    'flat_decay_mult': (
        'parameter of one dimension',
        lambda model: (p for p in model.parameters() if p.ndim == 1 and p.requires_grad),
    ),
    'dwconv_decay_mult': ('depthwise convolution', _depthwise),
    'dcn_offset_lr_mult': ('deformable convolution with an offset layer', _offsets),
}
