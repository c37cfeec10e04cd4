"""Memory of instance embeddings ("words") for each class: the contrastive likelihood, and the drawing and storing of new words.

Naming: M locations, G labels (the classes, then background), W words per label, D channels, k words drawn per label.
"""

from typing import Any

import torch
import torch.nn.functional as F
from mmengine.dist import all_gather
from torch import Tensor
from torch.autograd.function import once_differentiable

# Locations are processed in chunks whose similarities with all words have at most this many elements: 16 MB in float32.
_CHUNK_ELEMENTS = 1 << 22


class _WordLogLikelihood(torch.autograd.Function):
    """Implementation of :func:`word_log_likelihood` that keeps (M, D) values for the backward pass instead of (M, G W).

    A detector's batch has 10^5 locations and 2 * 10^3 words, so that the similarities would take gigabytes until the backward pass. The
    words get no gradient; the gradient of each location can therefore be computed in the forward pass.
    """

    @staticmethod
    def forward(ctx: Any, queries: Tensor, words: Tensor, labels: Tensor) -> Tensor:
        num_labels, num_words, channels = words.shape
        flat = words.reshape(-1, channels)  # (G W, D)
        result = queries.new_empty(len(queries))
        gradient = torch.empty_like(queries) if ctx.needs_input_grad[0] else None
        step = max(1, _CHUNK_ELEMENTS // len(flat))
        for start in range(0, len(queries), step):
            part = slice(start, start + step)
            own = labels[part, None]  # (m, 1)
            similarity = (queries[part] @ flat.t()).exp_().unflatten(1, (num_labels, num_words))  # (m, G, W), at most e
            mass = similarity.sum(2)  # (m, G)
            own_mass, total = mass.gather(1, own), mass.sum(1, keepdim=True)  # (m, 1)
            result[part] = (own_mass / total).log().squeeze(1)
            if gradient is not None:
                share = (-1 / total).expand_as(mass).scatter_add(1, own, 1 / own_mass)  # (m, G)
                torch.mm(similarity.mul_(share[:, :, None]).flatten(1), flat, out=gradient[part])
        if gradient is not None:
            ctx.save_for_backward(gradient)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * grad_output[:, None], None, None


def word_log_likelihood(queries: Tensor, words: Tensor, labels: Tensor) -> Tensor:
    """``log(E_y / sum_c E_c)`` with ``E_c = sum_j exp(<query, word_cj>)``.

    Args:
        queries: (M, D) of unit length. Gets a gradient.
        words: (G, W, D) of unit length. Gets none.
        labels: (M,) int64 y in [0, G).

    Returns:
        (M,) log likelihoods, <= 0.
    """
    return _WordLogLikelihood.apply(queries, words, labels)


@torch.no_grad()
def draw_words(
    embeddings: Tensor, labels: Tensor, pos_inds: Tensor, num_classes: int, count: int
) -> tuple[Tensor, Tensor]:
    """Draw ``count`` random locations of each label from the batches of all processes together.

    Every location gets a random key (torch's default generator of its device); the smallest keys of each label are drawn. Each process
    gathers the words and keys of all processes, so that all draw the same words, and as many as a single process would.

    Args:
        embeddings: (M, D).
        labels: (M,) int64, ``num_classes`` for background.
        pos_inds: (N,) indices of the locations that are not background.
        num_classes: G - 1.
        count: k.

    Returns:
        words (G, k, D), and a mask (G, k) of those that exist, which come first.
    """
    keys = torch.rand(len(embeddings), device=embeddings.device)
    # Padded by k locations with an infinite key, for labels with fewer than k locations.
    pos = F.pad(pos_inds, (0, count))  # (N + k,)
    pos_keys = F.pad(keys[pos_inds], (0, count), value=torch.inf)
    pos_labels = F.pad(labels[pos_inds], (0, count), value=-1)
    classes = torch.arange(num_classes, device=labels.device)
    candidates = pos_keys.masked_fill(pos_labels[None, :] != classes[:, None], torch.inf)  # (G - 1, N + k)
    pos_best, pos_rows = candidates.topk(count, dim=1, largest=False)
    rest = F.pad(keys.index_fill(0, pos_inds, torch.inf), (0, count), value=torch.inf)
    rest_best, rest_rows = rest.topk(count, largest=False)
    best = torch.cat([pos_best, rest_best[None]])  # (G, k)
    rows = torch.cat([pos[pos_rows], rest_rows.clamp(max=len(embeddings) - 1)[None]])  # (G, k)
    words = embeddings[rows]  # (G, k, D)

    best, words = torch.cat(all_gather(best), dim=1), torch.cat(all_gather(words), dim=1)  # (G, ranks k), (..., D)
    best, order = best.topk(count, dim=1, largest=False, sorted=True)
    words = words.gather(1, order[:, :, None].expand(-1, -1, words.size(2)))
    return words, best.isfinite()


@torch.no_grad()
def push_words(memory: Tensor, pointers: Tensor, words: Tensor, exist: Tensor) -> None:
    """Write words into the ring buffer of each label in place of its oldest ones.

    Args:
        memory: (G, W, D), written in place.
        pointers: (G,) int64 next slot to be written, advanced in place.
        words, exist: as :func:`draw_words` returns them, with k <= W.
    """
    num_labels, num_words, _ = memory.shape
    rows = torch.arange(num_labels, device=memory.device)[:, None]  # (G, 1)
    slots = (pointers[:, None] + torch.arange(words.size(1), device=memory.device)) % num_words  # (G, k)
    # Words that do not exist rewrite their slot's own value, so that no shape depends on the data.
    memory[rows, slots] = torch.where(exist[:, :, None], words.to(memory.dtype), memory[rows, slots])
    pointers.copy_((pointers + exist.sum(1)) % num_words)
