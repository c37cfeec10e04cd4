"""What a user may name as the model of a prediction."""

from ..engine.checkpoint.sources import CACHE_VARIABLE, cache_folder
from ..errors import ConfigError
from .building import config_of_checkpoint
from .known_models import KnownModel, known_models, named_config


def model_and_weights(model: str, weights: str | None, *, trust_checkpoint: bool = False) -> tuple[str, str | None]:
    """Config and checkpoint of a model.

    Args:
        model: name of a model, config file, or checkpoint whose config lies in its folder.
        weights: checkpoint: path, URL or known name; None: that of ``model``.
        trust_checkpoint: the config beside a checkpoint may be a program.

    Returns:
        The path of the config, and the checkpoint: the file, or the address of the published one. Published weights that no program can fetch are
        looked for in the folder of downloaded checkpoints, under the name of the model.

    Raises:
        ConfigError: no such model; weights neither given nor published, or to be fetched by hand: the message says from where, and where to.
        CheckpointError: no single config beside the checkpoint.
    """
    beside = config_of_checkpoint(model, weights, trust_checkpoint=trust_checkpoint)
    if beside is not None:
        return str(beside), model
    config, known = named_config(model, 'MODEL'), known_models().get(model.lower())
    return config, weights if weights is not None or known is None else _published(known)


def _published(known: KnownModel) -> str:
    """Address of the published weights, or the file of them that was put into the folder of downloaded checkpoints."""
    if known.weights is not None:
        return known.weights
    if known.hub is not None:
        message = (
            f'its published weights are those of {known.hub} on the Hugging Face hub ({known.license}), which no tool fetches unasked: '
            f'hf download {known.hub}. Then give the config file and --cfg-options model.model.from_pretrained={known.hub}, or give --weights'
        )
        raise ConfigError(message, field='MODEL', received=known.name)
    if known.page is None:
        raise ConfigError('no weights of this model are published; give --weights', field='MODEL', received=known.name)
    place = cache_folder() / str(known.file)
    found = next(
        (
            each
            for suffix in ('.pth', '.ckpt', '.safetensors')
            if (each := place.with_name(known.name + suffix)).is_file()
        ),
        None,
    )
    if found is None:
        raise ConfigError(
            f'its published weights are on a page that only a browser can open, {known.page}. Save the file as {place} (${CACHE_VARIABLE} names the '
            'folder), or give --weights',
            field='MODEL',
            received=known.name,
        )
    return str(found)
