"""Networks that ``torch.compile`` makes graphs of: one of a whole network or one of each part, for any size of images or for some sizes."""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

# The last is that of a detector whose network is another library's.
PARTS = ('backbone', 'neck', 'bbox_head', 'rpn_head', 'model')


def compile_network(network: Any, how: bool | int | str) -> str:
    """Let ``torch.compile`` make one graph of a network, or one of each part where the network does not consist of these alone; says which."""
    network.compiled_sizes, network.most_compiled_sizes = set(), None if isinstance(how, (bool, str)) else how
    mode = how if isinstance(how, str) else None
    options: dict[str, Any] = dict(dynamic=network.most_compiled_sizes is None, mode=mode)
    parts = parts_of(network)
    if getattr(network, 'predicts_from_raw_outputs', False):
        network.compiled_network = CompiledGraph(network.raw_outputs, **options)
        form = 'as one graph'
    else:
        for name in parts:  # not the second of two stages, whose inputs have another size for every image
            getattr(network, name).compile(**options)
        form = 'each by itself'
    most = network.most_compiled_sizes
    sizes = 'for images of any size' if most is None else f'for each size of images, of the first {most}'
    return f'torch.compile{f" ({mode})" if mode else ""} of {", ".join(parts)} {form}, {sizes}, when images come'


def parts_of(network: nn.Module) -> list[str]:
    """The parts of a network that compute something, by name."""
    return [name for name, part in network.named_children() if name in PARTS and any(True for _ in part.parameters())]


def undo_compilation(network: Any) -> None:
    """Let a network and its parts compute as they did before :func:`compile_network`."""
    for name in ('compiled_network', 'compiled_sizes', 'most_compiled_sizes'):
        network.__dict__.pop(name, None)
    for name in PARTS:
        part: Any = getattr(network, name, None)
        if getattr(part, '_compiled_call_impl', None) is not None:
            part._compiled_call_impl = None


def compiled_pass(network: Any, size: tuple[int, ...]) -> contextlib.AbstractContextManager:
    """The context in which a compiled network sees images of a size: without the compiler, once it has seen as many other sizes as it may."""
    most = network.most_compiled_sizes
    if most is None or size in network.compiled_sizes or len(network.compiled_sizes) < most:
        network.compiled_sizes.add(size)
        return compiler_settings()
    return torch.compiler.set_stance('force_eager')


@contextlib.contextmanager
def compiler_settings() -> Iterator[None]:
    """What ``torch.compile`` is set to while a network predicts; trainings in the same process keep their own settings."""
    # Imported here: it takes seconds.
    import torch._dynamo
    import torch._inductor.config
    import torch.fx.experimental._config

    shapes: Any = torch.fx.experimental._config

    with (
        torch._inductor.config.patch(
            freezing=True
        ),  # the weights are constants: laid out once, and not cast in every call
        shapes.patch(use_duck_shape=False),  # a square image makes no graph of square images
        # One entry for each network that shares the code, and for each time that it was prepared anew.
        torch._dynamo.config.patch(recompile_limit=max(torch._dynamo.config.recompile_limit, 128)),
    ):
        yield


class CompiledGraph:
    """A function of images through ``torch.compile``. It says what it took to compile, and where the compiler had to break the graph.

    Args:
        compute: a method of a network.
        dynamic: one graph for all sizes, rather than one for each.
        mode: of ``torch.compile``.
    """

    def __init__(self, compute: Callable[[Tensor], Any], dynamic: bool, mode: str | None = None):
        self._compute: Any = compute
        self._options: dict[str, Any] = dict(dynamic=dynamic, mode=mode)
        self._run = torch.compile(self._compute, fullgraph=True, **self._options)

    def __call__(self, images: Tensor) -> Any:
        """What the function returns."""
        from torch._dynamo.exc import Unsupported
        from torch._dynamo.utils import counters

        before, start = counters['stats']['unique_graphs'], time.perf_counter()
        try:
            found = self._run(images)
        except Unsupported as error:  # a layer of the user's own may do anything
            reason = str(error).strip().partition('\n')[0]
            print_log(f'torch.compile breaks the network into several graphs: {reason}', logger='current')
            self._run = torch.compile(self._compute, **self._options)
            found = self._run(images)
        graphs = counters['stats']['unique_graphs'] - before
        if graphs:
            size = 'images of any size' if self._options['dynamic'] else f'images of {tuple(images.shape)}'
            print_log(
                f'torch.compile: {graphs} graph{"s" * (graphs > 1)} for {size}; the call took {time.perf_counter() - start:.1f} s, '
                'less where the cache of the compiler (TORCHINDUCTOR_CACHE_DIR) has the kernels',
                logger='current',
            )
        return found
