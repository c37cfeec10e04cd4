"""What a user may name as the model of a prediction."""

from pathlib import Path

from ..config.config_files import require_data
from ..errors import ConfigError
from .building import find_config_beside
from .known_models import config_by_name, known_models, near_names


def model_and_weights(model: str, weights: str | None, *, trust_checkpoint: bool = False) -> tuple[str, str | None]:
    """Config and checkpoint of a model.

    Args:
        model: name of a model, config file, or checkpoint whose config lies in its folder.
        weights: checkpoint: path, URL or known name; None: that of ``model``.
        trust_checkpoint: the config beside a checkpoint may be a program.

    Returns:
        The path of the config, and the checkpoint: the file, or the address of the published one.

    Raises:
        ConfigError: no such model; weights neither given nor published.
        CheckpointError: no single config beside the checkpoint.
    """
    if model.lower().endswith(('.pth', '.pt', '.safetensors')):
        if weights is not None:
            raise ConfigError('is a checkpoint already; give a config beside --weights', field='MODEL', received=model)
        path = find_config_beside(model)
        if not trust_checkpoint:  # the user named the checkpoint, not this file
            require_data(path)
        return str(path), model
    known = known_models().get(model.lower())
    config = config_by_name(model)
    if known is None and not Path(config).is_file():
        raise ConfigError(f'no config file, and no name of a model{near_names(model)}', field='MODEL', received=model)
    if weights is None and known is not None and known.weights is None:
        raise ConfigError('no weights of this model are published; give --weights', field='MODEL', received=model)
    return config, weights if weights is not None or known is None else known.weights
