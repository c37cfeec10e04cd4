"""Optimizer wrappers that stop at a non-finite loss and resume inside an accumulation; mixed precision on CPU and GPU."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.dist import all_reduce, get_dist_info
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapper as MMEngineOptimWrapper

from ..errors import ConfigError, NonFiniteLossError
from ..registry import OPTIM_WRAPPERS
from ..utils.checks import is_number
from .replay import StepWatch

_SAFE_CHANNELS, _IMAGE_CHANNELS = 16, 4


@OPTIM_WRAPPERS.register_module()
class OptimWrapper(MMEngineOptimWrapper):
    """mmengine's wrapper (accumulation, clipping) with two additions.

    *Non-finite losses*: the total loss is tested, unscaled, before the backward pass. If it is NaN or infinite on any
    rank, every rank raises :class:`NonFiniteLossError` with the parts of its loss, and no parameter moves. So do gradients that are not finite,
    where ``clip_grad`` has ``error_if_nonfinite``. ``watch`` then holds what the step was given, on the ranks whose own loss it is.

    *Accumulated gradients*: a checkpoint taken between two optimizer steps carries the gradients summed so far (those
    of rank 0), so that the resumed run makes the same next step.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, accumulative_counts: int = 1, clip_grad: dict | None = None):
        super().__init__(optimizer, accumulative_counts=accumulative_counts, clip_grad=clip_grad)
        self.watch: StepWatch | None = None

    def initialize_count_status(self, model: torch.nn.Module, init_counts: int, max_counts: int) -> None:
        """Set the counters of iterations, done and in all, and watch the losses of the model, which DDP may wrap."""
        # The base method would warn that a resumed accumulation loses gradients, which it does not do here.
        self._inner_count = init_counts
        self._max_counts = max_counts
        self._remainder_counts = max_counts % self._accumulative_counts
        if self.watch is not None:
            self.watch.remove()
        self.watch = StepWatch(model)

    def update_params(
        self, loss: torch.Tensor, step_kwargs: dict | None = None, zero_kwargs: dict | None = None
    ) -> None:
        """Test the loss, then do as mmengine: scale, backward, and step when enough iterations are accumulated.

        Raises:
            NonFiniteLossError: the loss of this or another rank is NaN or infinite.
        """
        self._require_finite(loss)
        super().update_params(loss, step_kwargs=step_kwargs, zero_kwargs=zero_kwargs)
        if self.watch is not None:
            self.watch.clear()

    def _require_finite(self, loss: torch.Tensor) -> None:
        finite = torch.isfinite(loss.detach()).all()
        everywhere = finite.to(torch.float32)
        all_reduce(everywhere, op='min')
        if everywhere.item() == 1:
            return
        parts = None if self.watch is None else self.watch.parts
        shown = ', '.join([f'loss={loss.detach().float().sum().item():g}', *_describe_parts(parts)])
        reason = 'the loss is not finite' if not finite else 'the loss of another rank is not finite'
        if finite and self.watch is not None:
            self.watch.clear()
        raise NonFiniteLossError(
            f'{reason}; the optimizer was not moved. Parts: {shown}. Usual causes: learning rate or warm-up, '
            'boxes without area, float16 overflow',
            record=self._place(self._inner_count + 1),
        )

    def _place(self, iteration: int) -> str:
        rank, world_size = get_dist_info()
        return f'iteration {iteration}' + (f', rank {rank}' if world_size > 1 else '')

    def _clip_grad(self) -> None:
        try:
            super()._clip_grad()
        except RuntimeError as error:  # torch's, for error_if_nonfinite=True
            if 'non-finite' not in str(error):
                raise
            message = 'the norm of the gradients is not finite; the optimizer was not moved'
            raise NonFiniteLossError(message, record=self._place(self._inner_count)) from error

    def state_dict(self) -> dict:
        """State of the optimizer and, between two steps, the gradients accumulated so far."""
        state = super().state_dict()
        gradients = [parameter.grad for group in self.optimizer.param_groups for parameter in group['params']]
        if not self.should_update() and any(gradient is not None for gradient in gradients):
            state['accumulated_gradients'] = [None if gradient is None else gradient.detach() for gradient in gradients]
        return state

    def load_state_dict(self, state_dict: dict) -> None:
        """Restore what :meth:`state_dict` gave; the argument is left untouched."""
        state_dict = dict(state_dict)
        gradients = state_dict.pop('accumulated_gradients', None)
        super().load_state_dict(state_dict)
        if gradients is None:
            return
        parameters = [parameter for group in self.optimizer.param_groups for parameter in group['params']]
        for parameter, gradient in zip(parameters, gradients):
            parameter.grad = None if gradient is None else gradient.to(parameter.device, parameter.dtype).clone()


def _describe_parts(parts: dict | None) -> list[str]:
    """``name=value``, a list over levels as ``name=[a, b, ...]``."""

    def mean(value: torch.Tensor) -> str:
        return f'{value.detach().float().mean().item():g}'

    described = []
    for name, value in (parts or {}).items():
        if isinstance(value, torch.Tensor):
            described.append(f'{name}={mean(value)}')
        elif isinstance(value, (list, tuple)):
            levels = ', '.join(mean(item) for item in value if isinstance(item, torch.Tensor))
            described.append(f'{name}=[{levels}]')
    return described


@OPTIM_WRAPPERS.register_module()
class AmpOptimWrapper(OptimWrapper):
    """Automatic mixed precision on the device where the parameters are.

    In bfloat16 on a CPU with AMX, batches are laid out channels last where the data preprocessor's ``channels_last`` is None: oneDNN's convolutions
    then need no other layout of their inputs, neither forward nor backward. Networks with convolutions of fewer than 16 channels keep the usual
    layout, since PyTorch's of 8 and 12 were seen to write past their memory in the other one.

    Args:
        loss_scale: ``'dynamic'``, a fixed scale, or the arguments of ``torch.amp.GradScaler``. Used with float16 only:
            bfloat16 has the exponent range of float32.
        dtype: ``'float16'`` or ``'bfloat16'``. Default: float16 on CUDA (as in mmengine), bfloat16 on the CPU.
        use_fsdp: not supported here; accepted because configs carry it.
        **kwargs: arguments of :class:`OptimWrapper`.

    Raises:
        ConfigError: another ``dtype`` or kind of ``loss_scale``.
    """

    _DTYPES = {'float16': torch.float16, 'bfloat16': torch.bfloat16}

    def __init__(
        self,
        loss_scale: str | float | dict = 'dynamic',
        dtype: str | torch.dtype | None = None,
        use_fsdp: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if use_fsdp:
            raise ConfigError('FSDP is not supported', field='optim_wrapper.use_fsdp', received=use_fsdp)
        self.device_type = next(
            (parameter.device.type for group in self.optimizer.param_groups for parameter in group['params']), 'cpu'
        )
        if dtype is None:
            dtype = 'float16' if self.device_type == 'cuda' else 'bfloat16'
        found = self._DTYPES.get(dtype) if isinstance(dtype, str) else dtype
        if found not in self._DTYPES.values():
            raise ConfigError(f'must be one of {sorted(self._DTYPES)}', field='optim_wrapper.dtype', received=dtype)
        self.cast_dtype = found
        self._fixed_scale = float(loss_scale) if is_number(loss_scale) and loss_scale > 0 else None
        options: dict = dict(enabled=self.cast_dtype is torch.float16)
        if isinstance(loss_scale, dict):
            options.update(loss_scale)
        elif self._fixed_scale is not None:
            options['init_scale'] = self._fixed_scale
        elif loss_scale != 'dynamic':
            message = "must be 'dynamic', a positive number or a dict of GradScaler arguments"
            raise ConfigError(message, field='optim_wrapper.loss_scale', received=loss_scale)
        self.loss_scaler = torch.amp.GradScaler(self.device_type, **options)

    def initialize_count_status(self, model: torch.nn.Module, init_counts: int, max_counts: int) -> None:
        """As in the base class; chooses the layout of the batches."""
        super().initialize_count_status(model, init_counts, max_counts)
        self.choose_layout(model)

    def choose_layout(self, model: torch.nn.Module) -> None:
        """Lay the batches out as the class says, and the weights of convolutions with them: otherwise each pass would copy these, and their gradients back."""
        if self.device_type != 'cpu' or self.cast_dtype is not torch.bfloat16 or not torch.cpu._is_amx_tile_supported():
            return
        open_ones: list[Any] = [one for one in model.modules() if getattr(one, 'channels_last', False) is None]
        convolutions = [one for one in model.modules() if isinstance(one, torch.nn.Conv2d)]
        inner = [one.in_channels for one in convolutions if one.in_channels > _IMAGE_CHANNELS]
        chosen = all(one.memory_format is torch.channels_last for one in open_ones)
        if not chosen and min(inner, default=0) >= _SAFE_CHANNELS:
            for preprocessor in open_ones:
                preprocessor.memory_format = torch.channels_last
            if not is_model_wrapper(model):  # DDP has laid out its buffers of gradients already
                for convolution in convolutions:
                    if type(convolution) is torch.nn.Conv2d:  # kinds of a plug-in's own may need rows of numbers
                        laid_out = convolution.weight.detach().contiguous(memory_format=torch.channels_last)
                        convolution.weight.data = laid_out
            print_log('Batches are laid out channels last: bfloat16 on a CPU with AMX', logger='current')

    def backward(self, loss: torch.Tensor, **kwargs: Any) -> None:
        """Backward pass of the scaled loss; counts the accumulation."""
        self.loss_scaler.scale(loss).backward(**kwargs)
        self._inner_count += 1

    def step(self, **kwargs: Any) -> None:
        """Unscale and clip the gradients, step unless one of them overflowed, and adapt the scale."""
        if self.clip_grad_kwargs:
            self.loss_scaler.unscale_(self.optimizer)
            self._clip_grad()
        self.loss_scaler.step(self.optimizer, **kwargs)
        self.loss_scaler.update(self._fixed_scale)

    def state_dict(self) -> dict:
        """As in the base class, and the state of the loss scale."""
        return dict(super().state_dict(), loss_scaler=self.loss_scaler.state_dict())

    def load_state_dict(self, state_dict: dict) -> None:
        """Restore what :meth:`state_dict` gave, also that of a run without mixed precision or in bfloat16."""
        state_dict = dict(state_dict)
        scaler_state = state_dict.pop('loss_scaler', None)
        if scaler_state:  # that of a run in bfloat16 is empty
            self.loss_scaler.load_state_dict(scaler_state)
        super().load_state_dict(state_dict)

    @contextmanager
    def optim_context(self, model: torch.nn.Module) -> Iterator[None]:
        """Autocast around the forward pass, inside the base class's context for accumulation."""
        with super().optim_context(model), torch.autocast(self.device_type, dtype=self.cast_dtype):
            yield
