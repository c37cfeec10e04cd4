"""The runner of the package: mmengine's, with support for CPUs and current torch, safe checkpoints and exact resumption."""

import os
import shlex
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import mmengine
import torch
from mmengine.config import Config, ConfigDict
from mmengine.device import get_device
from mmengine.dist import broadcast_object_list, is_distributed, is_main_process, master_only
from mmengine.evaluator import Evaluator as MMEngineEvaluator
from mmengine.hooks import EMAHook, Hook
from mmengine.logging import MMLogger
from mmengine.model import is_model_wrapper, revert_sync_batchnorm
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.runner import BaseLoop, Runner
from mmengine.runner.checkpoint import weights_to_cpu
from mmengine.utils.dl_utils import TORCH_VERSION

from ..config.reading import type_name
from ..errors import CheckpointError, ConfigError, MMDetError, NonFiniteLossError
from ..evaluation import Evaluator
from ..models.utils.transformers_library import complete_config
from ..registry import RUNNERS
from ..utils.checks import is_int
from ..utils.class_names import class_names
from ..utils.files import explained, make_folder, write_config
from ..utils.lock import LOCK_NAME
from ..version import release
from .checkpoint.class_rows import ClassRows, class_changes
from .checkpoint.loading import load_into, match_stages, unwrap
from .checkpoint.reading import MapLocation, load_checkpoint_file, trusting
from .checkpoint.resuming import (
    annotations_of,
    changes,
    check_averages,
    check_optimizer,
    check_settings,
    optimizer_types,
    settings,
    settings_change,
)
from .checkpoint.saving import (
    find_newest,
    pair_schedulers,
    restore_history,
    save_atomically,
    scheduler_states,
    to_plain,
)
from .console import quieten, report_failures
from .dist import init_dist, locked_for_all
from .loops import EpochBasedTrainLoop, IterBasedTrainLoop
from .optim_wrappers import AmpOptimWrapper
from .replay import write_step

_SEEDS = 'must be an integer from 0 to 2**32 - 1'
_MOST_ITERATIONS = 2**31 - 1
_OWN_DEFAULT_HOOKS = dict(
    reseed='ReseedHook', num_classes='NumClassCheckHook', objects='ObjectCountHook', broken_images='BrokenImagesHook', inference='InferenceHook'
)  # fmt: skip


@RUNNERS.register_module()
class DetRunner(Runner):
    """mmengine's Runner with the following differences.

    - ``torchrun``/slurm on machines without CUDA (gloo, DDP without device ids).
    - Checkpoints hold tensors and plain values only and are written atomically; they are read by the one reader of the
      package.
    - ``resume=True`` with ``load_from=FILE`` continues that file. ``resume='auto'``, or ``resume=True`` without
      ``load_from``, continues the newest whole checkpoint of the work folder and starts afresh when there is none (from
      ``load_from``, if given).
    - A resumed run uses the seed stored in the checkpoint, known before the samplers are built, and gives the same bits
      as the unbroken run on one device: see :class:`~mmdet.engine.hooks.ReseedHook` for the random numbers of the
      model.
    - Evaluation refuses a checkpoint that lacks a parameter of the model or has it in another shape.
    - The console shows the messages that a person needs (see :mod:`~mmdet.engine.console`), the log file all of them.
    - Arguments that are dicts may be ``Config`` objects.
    - While it trains, the work folder is locked: see :mod:`mmdet.utils.lock`.

    Config keys read here beside mmengine's: ``trust_checkpoint`` (False), ``verbose`` (False: a short console), ``map_classes`` (False; True or a
    dict: a training from ``load_from`` keeps the rows of classes of equal names, see :class:`~mmdet.engine.checkpoint.class_rows.ClassRows`).
    """

    optim_wrapper: Any  # a dict until training builds it
    param_schedulers: Any  # likewise
    model: Any

    def __init__(
        self,
        model: torch.nn.Module | dict | Config,
        work_dir: str,
        *args: Any,
        resume: bool | str = False,
        load_from: str | None = None,
        **kwargs: Any,
    ):
        if resume not in (True, False, None, 'auto'):
            raise ConfigError("must be True, False or 'auto'", field='resume', received=resume)
        _make_work_dir(work_dir)
        # Needed before mmengine sets its own attributes: the seed and the samplers depend on the checkpoint.
        self._resume_request = resume
        self._resume_work_dir = Path(work_dir)
        self._requested_load_from = load_from
        self._resume_path: str | None = None
        self._evaluating = False
        self.trained_classes: tuple[str, ...] | None = None  # names by label of the model, where they are known
        args = tuple(map(_as_dict, args))
        kwargs = {name: value if name == 'cfg' else _as_dict(value) for name, value in kwargs.items()}
        super().__init__(_as_dict(model), work_dir, *args, resume=bool(resume), load_from=load_from, **kwargs)
        self._resume = self._resume_path is not None
        if self._resume_request and not self._resume:
            start = f'from {load_from}' if load_from else 'afresh'
            self.logger.info(f'Nothing to resume in {self.work_dir}: training starts {start}.')

    def setup_env(self, env_cfg: dict) -> None:
        """Join the process group (without mmengine's ``torch.cuda.set_device``), then set up as mmengine does."""
        if self.distributed and not is_distributed():
            init_dist(self.launcher, **env_cfg.get('dist_cfg', {}))
        super().setup_env(env_cfg)
        make_folder(Path(self.work_dir) / self.timestamp, error=ConfigError)

    def set_randomness(
        self, seed: int | None = None, diff_rank_seed: bool = False, deterministic: bool = False
    ) -> None:
        """Seed Python, numpy and torch; on a resume by the seed stored in the checkpoint, which wins over ``seed``."""
        if self._resume_request and self._resume_path is None:
            path = self._resume_path = self._choose_checkpoint()
            stored = load_checkpoint_file(path, trust=self._trust, mmap=True)['meta'].get('seed') if path else None
            if stored is not None:
                if not _is_seed(stored):
                    raise CheckpointError(_SEEDS, file=path, field='meta.seed', received=stored)
                if seed is not None and seed != stored and is_main_process():
                    print(f'resuming with the seed of the checkpoint, {stored}, not {seed}', file=sys.stderr)
                seed = stored
                self._randomness_cfg.update(seed=stored)
        if seed is not None and not _is_seed(seed):
            raise ConfigError(_SEEDS, field='seed', received=seed)
        if deterministic:
            # cuBLAS reads it when it starts, and torch refuses to use cuBLAS without; a value of the user's stays.
            os.environ.setdefault('CUBLAS_WORKSPACE_CONFIG', ':4096:8')
        super().set_randomness(seed, diff_rank_seed=diff_rank_seed, deterministic=deterministic)
        # With ``diff_rank_seed`` mmengine returns seed + rank; what is stored and passed on is the seed itself.
        self._base_seed = self._seed - (self._rank if diff_rank_seed else 0)

    def _choose_checkpoint(self) -> str | None:
        """The checkpoint to resume, or None; rank 0 searches the work folder for all ranks."""
        if self._requested_load_from and self._resume_request is True:
            return str(self._requested_load_from)
        found: list[Path | None] = [None]
        if is_main_process():
            found = [find_newest(self._resume_work_dir, lambda text: print(f'resume: {text}', file=sys.stderr))]
        broadcast_object_list(found)
        return None if found[0] is None else str(found[0])

    @property
    def _trust(self) -> bool:
        return bool(self.cfg.get('trust_checkpoint', False))

    def build_logger(self, log_level: int | str = 'INFO', log_file: str | None = None, **kwargs: Any) -> MMLogger:
        """mmengine's logger; unless the config says ``verbose`` the console shows what :mod:`.console` lets through."""
        with explained(log_file or Path(self.log_dir) / f'{self.timestamp}.log'):
            logger = super().build_logger(log_level, log_file, **kwargs)
        report_failures(logger)
        quieten(logger, verbose=self.cfg.get('verbose', False))
        return logger

    @master_only
    def dump_config(self) -> None:
        """Write the config into the work folder, unless it is the file that the config was read from."""
        source = self.cfg.filename
        path = Path(self.work_dir) / (Path(source).name if source else f'{self.timestamp}.py')
        if source is None or not path.exists() or not os.path.exists(source) or not path.samefile(source):
            write_config(path, self.cfg)

    def _announce(self, what: str, length: str = '') -> None:
        log_file = Path(self.log_dir) / f'{self.timestamp}.log'
        self.logger.info(
            f'{what} {type(unwrap(self.model)).__name__} on {get_device()}{length}. Details are in {log_file}'
        )

    def _log_env(self, env_cfg: dict) -> None:
        """Log the environment; a broken torchvision or compiler must not stop a training."""
        try:
            with _broken_torchvision_hidden():
                super()._log_env(env_cfg)
        except Exception as error:  # only a report: whatever probing the machine raises
            self.logger.warning(f'environment report failed ({type(error).__name__}: {error}); torch {TORCH_VERSION}')

    def build_model(self, model: torch.nn.Module | dict) -> torch.nn.Module:
        """Build the model; the config of the run gets what its models of the library transformers take from files, so that no test needs these."""
        built = super().build_model(model)
        if isinstance(model, dict) and 'model' in self.cfg:
            complete_config(self.cfg.model, built)
        return built

    def wrap_model(self, model_wrapper_cfg: dict | None, model: torch.nn.Module) -> torch.nn.Module:
        """Wrap for DDP; on the CPU without device ids, and with SyncBN turned into BN (it needs a GPU)."""
        if not self.distributed or is_model_wrapper(model) or torch.cuda.is_available():
            return super().wrap_model(model_wrapper_cfg, model)
        wrapper = dict(
            type='MMDistributedDataParallel',
            device_ids=None,
            broadcast_buffers=False,
            find_unused_parameters=self.cfg.get('find_unused_parameters', False),
        )
        return super().wrap_model({**wrapper, **(model_wrapper_cfg or {})}, revert_sync_batchnorm(model))

    def _init_model_weights(self) -> None:
        """Initialise, unless a checkpoint is about to give every parameter (a resume needs no pretrained file then)."""
        if self._resume_path is None or self._has_loaded:
            with trusting(self._trust):
                super()._init_model_weights()

    def build_optim_wrapper(
        self, optim_wrapper: dict | OptimWrapper | OptimWrapperDict
    ) -> OptimWrapper | OptimWrapperDict:
        """As mmengine's; what it refuses by a ValueError (an option that needs another one, a bad number) is an error of the config."""
        optimizer = optim_wrapper.get('optimizer') if isinstance(optim_wrapper, dict) else None
        if optimizer is not None and not isinstance(optimizer, (dict, torch.optim.Optimizer)):
            raise ConfigError('must be a dict', field='optim_wrapper.optimizer', received=optimizer)
        before = self._frozen()
        try:
            wrapper = super().build_optim_wrapper(optim_wrapper)
        except MMDetError:
            raise
        except ValueError as error:
            raise ConfigError(f'cannot be built ({error})', field='optim_wrapper', received=optim_wrapper) from error
        if self._frozen() != before:
            self.rewrap_model()
        if isinstance(wrapper, AmpOptimWrapper):
            wrapper.choose_layout(
                self.model
            )  # now, so that copies of the weights, such as averaged ones, have their layout
        return wrapper

    def _frozen(self) -> list[bool]:
        return [parameter.requires_grad for parameter in self.model.parameters()]

    def rewrap_model(self) -> None:
        """Wrap the model for DDP anew, after parameters were frozen or released: the wrapper waits for the gradients of those that it saw trained.

        Nothing happens without such a wrapper.
        """
        if not is_model_wrapper(self.model):
            return
        self.model = self.wrap_model(self.cfg.get('model_wrapper_cfg'), unwrap(self.model))
        if (
            isinstance(self._train_loop, BaseLoop) and getattr(self.optim_wrapper, 'watch', None) is not None
        ):  # it trains
            loop = self.train_loop
            self.optim_wrapper.initialize_count_status(self.model, loop.iter, loop.max_iters)
            self._maybe_compile('train_step')

    def _maybe_compile(self, target: str) -> None:
        """``compile`` of the config, True or arguments of ``torch.compile``, for backbone, neck and dense head; of a detector of transformers, for the backbone.

        mmengine compiles the whole step: targets and losses, whose sizes depend on the objects, are then compiled again and again, and the
        optimizer with them. A model without a backbone of its own is compiled as mmengine does it.
        """
        model, options = unwrap(self.model), self.cfg.get('compile')
        if (
            not options
            or not isinstance(options, bool | dict)
            or not isinstance(getattr(model, 'backbone', None), torch.nn.Module)
        ):
            super()._maybe_compile(target)
            return
        candidates = {name: getattr(model, name, None) for name in ('backbone', 'neck', 'bbox_head')}
        parts = {
            name: part
            for name, part in candidates.items()
            if isinstance(part, torch.nn.Module) and next(part.parameters(), None) is not None
        }
        for part in parts.values():
            if part._compiled_call_impl is None:
                part.compile(**(options if isinstance(options, dict) else {}))
        names = ', '.join(parts)
        self.logger.info(f'Compiled while the first iterations run, once for every size of the batches: {names}')

    def build_train_loop(self, loop: BaseLoop | dict) -> BaseLoop:
        """Build the loop; the two of mmengine are replaced by those that resume at any iteration."""
        if isinstance(loop, dict) and 'type' not in loop:
            loop = dict(loop)
            by_epoch = loop.pop('by_epoch', True)
            loop['type'] = EpochBasedTrainLoop if by_epoch else IterBasedTrainLoop
        return super().build_train_loop(loop)

    def build_evaluator(self, evaluator: dict | list | MMEngineEvaluator) -> MMEngineEvaluator:
        """As mmengine's; one metric or several become the :class:`~mmdet.evaluation.Evaluator` of this package."""
        if isinstance(evaluator, list) or (isinstance(evaluator, dict) and 'metrics' not in evaluator):
            return Evaluator(evaluator)
        return super().build_evaluator(evaluator)

    def build_val_loop(self, loop: BaseLoop | dict) -> BaseLoop:
        """Build the validation loop; its evaluator checks its files against the data set, on every process and before a training begins."""
        return self._bind(super().build_val_loop(loop))

    def build_test_loop(self, loop: BaseLoop | dict) -> BaseLoop:
        """Build the test loop, as :meth:`build_val_loop`."""
        return self._bind(super().build_test_loop(loop))

    def _bind(self, loop: Any) -> BaseLoop:
        evaluator, dataset = getattr(loop, 'evaluator', None), getattr(loop.dataloader, 'dataset', None)
        if isinstance(evaluator, Evaluator) and dataset is not None:
            for note in evaluator.bind(dataset):
                self.logger.warning(note)
            self.visualizer.dataset_meta = evaluator.dataset_meta  # of parts with different classes: all of them
        return loop

    def scale_lr(self, optim_wrapper: OptimWrapper | OptimWrapperDict, auto_scale_lr: dict | None = None) -> None:
        """Scale the learning rate by (total batch size) / ``base_batch_size``."""
        if auto_scale_lr and auto_scale_lr.get('enable', False) and 'base_batch_size' not in auto_scale_lr:
            message = 'base_batch_size is needed to scale the learning rate'
            raise ConfigError(message, field='auto_scale_lr', received=dict(auto_scale_lr))
        super().scale_lr(optim_wrapper, auto_scale_lr)

    def register_hooks(
        self,
        default_hooks: dict[str, Hook | dict | None] | None = None,
        custom_hooks: list[Hook | dict] | None = None,
    ) -> None:
        """mmengine's hooks and this package's own defaults, unless the config has them already.

        ``reseed`` seeds the model's random numbers at each iteration, ``num_classes`` compares the heads with the dataset,
        ``broken_images`` counts what was skipped, ``inference`` makes the network fast in tests; ``default_hooks=dict(reseed=None)`` takes one out.
        """
        hooks = dict(default_hooks or {})
        given = {type_name(hook) for hook in [*hooks.values(), *(custom_hooks or [])]}
        for name, kind in _OWN_DEFAULT_HOOKS.items():
            if kind not in given:
                hooks.setdefault(name, dict(type=kind))
            if hooks.get(name, kind) is None:
                del hooks[name]
        super().register_hooks(hooks, custom_hooks)

    def train(self) -> torch.nn.Module:
        """Train the model, or go on training it; returns it.

        Raises:
            NonFiniteLossError: the loss is NaN or infinite. The message names the file in the work folder that holds the step, see :mod:`.replay`.
        """
        if self._train_loop is not None:
            loop = self.train_loop
            epochs = f'{loop.max_epochs} epochs, ' if isinstance(loop, EpochBasedTrainLoop) else ''
            if self.cfg.get('map_classes') and not self._load_from and self._resume_path is None:
                raise ConfigError('does nothing without load_from', field='map_classes', received=self.cfg.map_classes)
            self._announce('Training', f': {epochs}{loop.max_iters} iterations')
            _ = self._training_set  # as it is now: the files may change during the run
        try:
            with locked_for_all(Path(self.work_dir) / LOCK_NAME):
                return super().train()
        except NonFiniteLossError as error:
            raise NonFiniteLossError(f'{error}{self._keep_step()}') from error

    def _keep_step(self) -> str:
        """Write the step whose loss is not finite; returns a sentence that says where, empty where it is another rank's."""
        wrapper = self.optim_wrapper
        wrappers = list(wrapper.values()) if isinstance(wrapper, OptimWrapperDict) else [wrapper]
        watches = [getattr(wrapper, 'watch', None) for wrapper in wrappers]
        watch = next((watch for watch in watches if watch is not None and watch.given is not None), None)
        if watch is None:
            return ''
        try:
            path = shlex.quote(str(write_step(self, watch)))
            return f'. To compute this loss again: python tools/misc/replay_loss.py {path}'
        except CheckpointError as failure:
            return f'. The step could not be kept: {failure}'

    @cached_property
    def _training_set(self) -> dict:
        """Entries of a checkpoint's ``meta`` that tell a resume of another training set; the annotations by rank 0 only."""
        loader = self.train_dataloader
        batch_size = getattr(loader, 'batch_size', None) or getattr(
            getattr(loader, 'batch_sampler', None), 'batch_size', None
        )
        found = dict(batch_size=batch_size)
        if is_main_process():
            found['annotations'] = annotations_of(loader.dataset)
        return found

    def val(self) -> dict:
        """Evaluate on the validation set; returns the metrics."""
        return self._evaluate('Validating', super().val)

    def test(self) -> dict:
        """Evaluate on the test set; returns the metrics."""
        return self._evaluate('Testing', super().test)

    def _evaluate(self, what: str, run: Callable[[], dict]) -> dict:
        self._announce(what)
        self._evaluating = True
        try:
            return run()
        finally:
            self._evaluating = False

    def load_or_resume(self, evaluating: bool = False) -> None:
        """Resume, or load ``load_from``, once.

        Args:
            evaluating: the model is about to be evaluated: take the weights only, and refuse a checkpoint that lacks
                some.
        """
        if self._has_loaded:
            return
        evaluating = evaluating or self._evaluating
        source = self._load_from or self._resume_path
        if self._resume_path is not None and not evaluating:
            self.resume(self._resume_path)
        elif source is not None:
            self.load_checkpoint(source, complete=evaluating)

    def load_checkpoint(
        self,
        filename: str,
        map_location: MapLocation = 'cpu',
        strict: bool = False,
        revise_keys: list | None = None,
        complete: bool = False,
    ) -> dict:
        """Load the weights of a checkpoint into the model and report what did not fit, name by name.

        Args:
            filename: local path, URL or ``scheme://name``.
            map_location: device of the tensors read.
            strict: raise unless names and shapes agree exactly.
            revise_keys: accepted for mmengine's signature; the renames are those of the reader.
            complete: raise unless every tensor of the model is there; leftovers are allowed.

        Raises:
            CheckpointError: unreadable, or it does not fit and ``strict`` or ``complete`` asks for that.
        """
        checkpoint = load_checkpoint_file(filename, trust=self._trust, map_location=map_location)
        if complete:
            self.trained_classes = class_names(checkpoint['meta'])

        def through_hooks(state: OrderedDict) -> OrderedDict:
            """Let the hooks load what is theirs; the EMA hook swaps the averaged weights with the model's own."""
            checkpoint['state_dict'] = state
            if self._resume:
                averaging = any(isinstance(hook, EMAHook) for hook in self.hooks)
                for change in check_averages(checkpoint, averaging, filename):
                    self.logger.warning(change)
            self.call_hook('after_load_checkpoint', checkpoint=checkpoint)
            return checkpoint['state_dict']

        rows = None if complete or self._resume else self._class_rows(checkpoint['meta'], filename)
        try:
            report = load_into(
                self.model,
                checkpoint['state_dict'],
                strict=strict,
                complete=complete,
                before_loading=through_hooks,
                by_name=None if rows is None else rows.apply,
            )
        except CheckpointError as error:
            if error.file is not None:
                raise
            raise CheckpointError(str(error), file=filename) from None
        self._has_loaded = True
        renamed = f', {len(report.renamed)} of them renamed' if report.renamed else ''
        self.logger.info(f'Loaded {report.loaded} tensors from {filename}{renamed}')
        if rows is not None:
            self.logger.info('\n'.join(rows.lines()))
        for note in [*match_stages(self.model, checkpoint['meta']), *report.notes]:
            self.logger.warning(note)
        if not report.exact:
            self.logger.warning('The checkpoint does not match the model in:\n  ' + '\n  '.join(report.lines()))
        return checkpoint

    def _class_rows(self, meta: dict, filename: str) -> ClassRows | None:
        """How a training on other classes than the checkpoint's takes over rows of classes; None where the config does not ask for it."""
        option = self.cfg.get('map_classes', False)
        if not isinstance(self._train_loop, BaseLoop):
            return None
        trained, wanted = class_names(meta), class_names(getattr(self.train_dataloader.dataset, 'metainfo', None))
        if option is not False and option is not None:
            return ClassRows(option, trained, wanted, filename)
        if (note := class_changes(trained, wanted)) is not None:
            self.logger.warning(note)
        return None

    def resume(
        self,
        filename: str,
        resume_optimizer: bool = True,
        resume_param_scheduler: bool = True,
        map_location: MapLocation = 'default',
    ) -> None:
        """Continue a run: model, optimizer, schedulers, averaged model, logs, epoch, iteration.

        Args:
            filename: checkpoint of a training.
            resume_optimizer: whether to restore the optimizer.
            resume_param_scheduler: whether to restore the parameter schedulers.
            map_location: device of the tensors read; the device in use by default.

        Raises:
            CheckpointError: the file is no training checkpoint, or it belongs to another model or optimizer.
        """
        device = get_device() if map_location == 'default' else map_location
        checkpoint = self.load_checkpoint(filename, map_location=device, strict=True)
        meta = checkpoint['meta']
        absent = [key for key in ('epoch', 'iter') if key not in meta]
        if resume_optimizer and 'optimizer' not in checkpoint:
            absent.append('optimizer')
        if absent:
            raise CheckpointError(
                f'cannot be resumed: it lacks {", ".join(absent)} (best_* and published files hold weights only). '
                'Use load_from=FILE without resume to start a new training from its weights',
                file=filename,
            )
        for key in ('epoch', 'iter', 'iters_in_epoch'):
            if not is_int(meta.get(key, 0), 0) or meta.get(key, 0) > _MOST_ITERATIONS:
                message = f'must be an integer from 0 to {_MOST_ITERATIONS}'
                raise CheckpointError(message, file=filename, field=f'meta.{key}', received=meta[key])
        self.train_loop._epoch = meta['epoch']
        self.train_loop._iter = meta['iter']
        if hasattr(self.train_loop, 'iters_done'):
            self.train_loop.iters_done = meta.get('iters_in_epoch', 0)
        if resume_optimizer:
            self.optim_wrapper = self.build_optim_wrapper(self.optim_wrapper)
            check_optimizer(checkpoint, self.optim_wrapper, filename)
        if resume_param_scheduler and self.param_schedulers is not None:
            self.param_schedulers = self.build_param_scheduler(self.param_schedulers)
        dataset_meta = getattr(self.train_dataloader.dataset, 'metainfo', None)
        now = dict(world_size=self.world_size, dataset_meta=dataset_meta, **self._training_set)
        try:
            differences = list(changes(meta, now))
            self._resume_message_hub(checkpoint.get('message_hub') or {})
            if resume_optimizer:
                configured = settings(self.optim_wrapper)
                self.optim_wrapper.load_state_dict(checkpoint['optimizer'])
                check_settings(configured, self.optim_wrapper, filename)
                differences += settings_change(configured, settings(self.optim_wrapper))
            if resume_param_scheduler and self.param_schedulers is not None and 'param_schedulers' in checkpoint:
                for scheduler, state in pair_schedulers(
                    self.param_schedulers, checkpoint['param_schedulers'], filename
                ):
                    scheduler.load_state_dict(state)
        except CheckpointError:
            raise
        except Exception as error:  # entries of another kind than ours make any of these raise nearly anything
            message = f'cannot be resumed: its optimizer, schedule or log does not fit this one ({type(error).__name__}: {error})'
            raise CheckpointError(message, file=filename) from error
        for difference in differences:
            self.logger.warning(difference)
        self._has_loaded = True
        self.logger.info(f'Resumed from {filename}: epoch {self.epoch}, iteration {self.iter}')

    def _resume_message_hub(self, state: dict) -> None:
        restored = {key: restore_history(value) for key, value in state.get('log_scalars', {}).items()}
        histories = {key: history for key, history in restored.items() if history is not None}
        runtime = dict(state.get('runtime_info', {}))
        present = {*histories, *runtime}
        known = {key: value for key, value in state.get('resumed_keys', {}).items() if key in present}
        self.message_hub.load_state_dict(dict(log_scalars=histories, runtime_info=runtime, resumed_keys=known))

    @master_only
    def save_checkpoint(
        self,
        out_dir: str,
        filename: str,
        file_client_args: dict | None = None,
        save_optimizer: bool = True,
        save_param_scheduler: bool = True,
        meta: dict | None = None,
        by_epoch: bool = True,
        backend_args: dict | None = None,
    ) -> None:
        """Write a checkpoint atomically; tensors and plain values only.

        Args:
            out_dir: local folder.
            filename: name of the file in it.
            file_client_args, backend_args: accepted for mmengine's signature; only local folders are written.
            save_optimizer: include the optimizer (needed to resume).
            save_param_scheduler: include the parameter schedulers.
            meta: further entries of ``meta``; ``epoch`` and ``iter`` in it win.
            by_epoch: whether the current epoch or the current iteration counts as finished.

        Raises:
            CheckpointError: the file cannot be written; older ones are intact.
        """
        meta = dict(meta or {})
        meta.setdefault('epoch', self.epoch + int(by_epoch))
        meta.setdefault('iter', self.iter + int(not by_epoch))
        inside = getattr(self.train_loop, 'iters_in_epoch', None)
        if inside is not None:
            meta.setdefault('iters_in_epoch', 0 if by_epoch else inside + 1)
        # Formatting the config takes a second; the hub has its text from the start of the run.
        meta.update(
            cfg=self.message_hub.get_info('cfg') or self.cfg.pretty_text,
            seed=self._base_seed,
            world_size=self.world_size,
            experiment_name=self.experiment_name,
            time=time.strftime('%Y%m%d_%H%M%S'),
            mmengine_version=mmengine.__version__,
            mmdet_version=release,
            **self._training_set,
        )
        metainfo = getattr(self.train_dataloader.dataset, 'metainfo', None)
        if metainfo is not None:
            meta['dataset_meta'] = metainfo
        checkpoint = dict(
            meta=meta,
            state_dict=weights_to_cpu(unwrap(self.model).state_dict()),
            message_hub=self.message_hub.state_dict(),
        )
        if save_optimizer:
            if not isinstance(self.optim_wrapper, (OptimWrapper, OptimWrapperDict)):
                kind = type(self.optim_wrapper).__name__
                raise CheckpointError('no optimizer has been built', field='optim_wrapper', received=kind)
            checkpoint['optimizer'] = self.optim_wrapper.state_dict()
            meta['optimizer_type'] = optimizer_types(self.optim_wrapper)
        if save_param_scheduler and self.param_schedulers is not None:
            checkpoint['param_schedulers'] = scheduler_states(self.param_schedulers)
        self.call_hook('before_save_checkpoint', checkpoint=checkpoint)
        essential = ('state_dict', 'ema_state_dict', 'optimizer', 'param_schedulers')
        plain = {
            key: to_plain(value, where=key, unknown=None if key in essential else self._drop_unsaveable)
            for key, value in checkpoint.items()
        }
        save_atomically(plain, Path(out_dir) / filename)

    def _drop_unsaveable(self, where: str, value: object) -> None:
        self.logger.warning(f'{where} ({type(value).__name__}) has no plain form and is saved as None')


def _is_seed(value: object) -> bool:
    return is_int(value, 0) and value < 2**32


def _as_dict(value: Any) -> Any:
    return ConfigDict(value.to_dict()) if isinstance(value, Config) else value


def _make_work_dir(work_dir: str) -> None:
    try:
        Path(work_dir).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        message = f'cannot be made ({error.strerror or error})'
        raise ConfigError(message, field='work_dir', received=str(work_dir)) from error
    if not os.access(work_dir, os.W_OK | os.X_OK):
        raise ConfigError('cannot be written to', field='work_dir', received=str(work_dir))


@contextmanager
def _broken_torchvision_hidden() -> Iterator[None]:
    """Make a torchvision that raises on import look absent (its CUDA wheel beside a CPU torch raises RuntimeError)."""
    hidden = {}
    try:
        import torchvision  # noqa: F401  (optional, and a build for another torch fails here)
    except ImportError:
        pass
    except Exception:  # RuntimeError or OSError of its compiled part
        hidden = {'torchvision': None}
    cast(dict, sys.modules).update(hidden)
    try:
        yield
    finally:
        for name in hidden:
            sys.modules.pop(name, None)
