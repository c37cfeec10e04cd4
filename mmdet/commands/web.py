"""``mmdet web``."""

from typing import Annotated, Any

from .predict import _number_or_rule, _pixel_range, _tile_size
from .signature import Option


def web(
    models: Annotated[list[str], Option(metavar='MODEL')] = [],  # noqa: B006
    *,
    weights: Annotated[list[str] | None, Option(metavar='CKPT')] = None,
    named: bool = True,
    random_weights: bool = False,
    tile: Annotated[str, Option(metavar='WxH', parse=_tile_size)] = '640',
    overlap: float = 0.2,
    device: str | None = None,
    host: str = '127.0.0.1',
    port: int = 7860,
    max_upload: Annotated[float, Option(metavar='MB')] = 50.0,
    max_frames: int = 60,
    kept_models: int = 2,
    value_range: Annotated[list[str] | None, Option(metavar=('LOW', 'HIGH'), parse=_number_or_rule)] = None,
    trust_checkpoint: bool = False,
) -> int:
    """Try models on a page in the browser: drop an image or a video, and see what they find.

        mmdet web work_dirs/gfl_demo/epoch_9.pth
        mmdet web configs/demo/gfl_demo.py work_dirs/exported --weights work_dirs/gfl_demo/epoch_9.pth

    The page shows the boxes of the whole image, of overlapping tiles and of packed regions side by side, with their times. It asks nothing of other
    hosts, and only this machine can open it unless --host says otherwise: it has no passwords.

    Args:
        models: names of models, config files, checkpoints with their config beside them, or exported folders.
        weights: checkpoints of the first models, in their order.
        named: offer all models with published weights, too, which are fetched when they are first used.
        random_weights: also offer configs without weights, to try a structure.
        tile: size of the tiles of the tiled look, such as 640 or 960x540.
        overlap: share of a tile that the next repeats.
        device: like 'cpu' or 'cuda:0'; default: the first GPU, or the CPU.
        host: address to listen at; 0.0.0.0 opens the page to the network.
        port: port to listen at; 0 takes a free one.
        max_upload: largest file that may be sent, in MB.
        max_frames: frames of a video that are looked at.
        kept_models: models that stay in memory; the one that was not used for longest makes room.
        value_range: what 16-bit and floating-point pixels mean: two values that become 0 and 255, or 'full' or 'minmax'.
        trust_checkpoint: allow unpickling arbitrary objects from checkpoint files: only for files you trust.
    """
    from ..errors import ConfigError

    limits: dict[str, float] = {'--max-upload': max_upload, '--max-frames': max_frames, '--kept-models': kept_models}
    for name, value in limits.items():
        if value <= 0:
            raise ConfigError('must be greater than 0', field=name, received=value)
    from mmdet_runtime.pixels import check_value_range
    from mmdet_runtime.resizing import check_tiles

    from ..web.looks import load_model
    from ..web.models import Models, choices_of

    tile_wh: Any = _tile_size(tile) if isinstance(tile, str) else tile
    check_tiles(tile_wh, overlap)
    pixels = check_value_range(_pixel_range(value_range))
    options: dict[str, Any] = dict(tile_wh=tile_wh, overlap=overlap, device=device, trust_checkpoint=trust_checkpoint)
    choices = choices_of(
        models, weights or (), named=named, trust_checkpoint=trust_checkpoint, random_weights=random_weights
    )
    from ..web.server import LOCAL, Page, serve

    shelf = Models(choices, kept_models, lambda choice: load_model(choice.source, choice.weights, **options))
    hosts = LOCAL if host in LOCAL else None
    page = Page(shelf, max_upload=max_upload, max_frames=max_frames, hosts=hosts, value_range=pixels)
    serve(page, host, port)
    return 0
