"""One state of the norms in all processes."""

from collections import OrderedDict

from mmengine.dist import get_dist_info
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from ...registry import HOOKS
from ...utils import all_reduce_dict


def get_norm_states(module: nn.Module) -> 'OrderedDict[str, object]':
    """The parameters and statistics of a module's batch and instance norms, by their names in its state dict."""
    return OrderedDict(
        (f'{name}.{key}' if name else key, value)
        for name, child in module.named_modules()
        if isinstance(child, _NormBase)
        for key, value in child.state_dict().items()
    )


@HOOKS.register_module()
class SyncNormHook(Hook):
    """Before a validation, give the norms of every process the mean of their states (YOLOX)."""

    def before_val_epoch(self, runner: Runner) -> None:
        """Average, where there is more than one process."""
        if get_dist_info()[1] == 1:
            return
        states = get_norm_states(runner.model)
        if states:
            runner.model.load_state_dict(all_reduce_dict(states, op='mean'), strict=False)
