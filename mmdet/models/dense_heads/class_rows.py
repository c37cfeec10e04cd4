"""The rows of a head's tensors that belong to classes, taken over from a checkpoint of other classes.

Letters: A priors of a location, K class channels of a prior (C classes, and a last one of the background where there is one).
"""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor


def copy_class_rows(
    own: Tensor,
    stored: Tensor,
    sources: Sequence[int],
    num_stored: int,
    num_priors: int = 1,
    num_before: int = 0,
    num_behind: int = 0,
) -> Tensor | None:
    """A class predictor's tensor with the rows of a checkpoint's classes.

    Args:
        own: (A K, ...) tensor of the model, prior-major; rows of new classes keep its values.
        stored: (A K', ...) tensor of the checkpoint.
        sources: for each class of the model the class of the checkpoint, or -1.
        num_stored: classes of the checkpoint.
        num_priors: A.
        num_before, num_behind: rows of a prior that come before and behind those of its classes, of boxes for instance; they are taken as they are.

    Returns:
        (A K, ...); None where the two do not belong to heads of one kind.
    """
    if (
        stored.dim() != own.dim()
        or stored.shape[1:] != own.shape[1:]
        or len(stored) % num_priors
        or len(own) % num_priors
    ):
        return None
    result = own.detach().clone()
    new, old = result.unflatten(0, (num_priors, -1)), stored.to(result).unflatten(0, (num_priors, -1))
    others = num_before + num_behind
    background = [rows.shape[1] - others - count for rows, count in ((new, len(sources)), (old, num_stored))]
    if not set(background) <= {0, 1}:
        return None
    for label, source in enumerate(sources):
        if source >= 0:
            new[:, num_before + label] = old[:, num_before + source]
    new[:, :num_before] = old[:, :num_before]
    behind = num_behind + (background == [1, 1])
    if behind:
        new[:, -behind:] = old[:, -behind:]
    return result


def store_class_rows(
    state_dict: dict[str, Tensor], found: Iterable[tuple[str, Tensor | None]]
) -> tuple[list[str], list[str]]:
    """Put tensors by their names into a checkpoint, in place; those that are None, of heads of another kind, are taken out of it.

    Returns:
        names of the tensors that were changed, and of those that were left out.
    """
    changed: list[str] = []
    left: list[str] = []
    for name, rows in found:
        if rows is None:
            del state_dict[name]
        else:
            state_dict[name] = rows
        (left if rows is None else changed).append(name)
    return changed, left


def proxies_of_classes(shares: Tensor) -> list[int] | None:
    """How many proxies each class has, from the shares of all proxies: those of a class sum to 1 and ascend, so that zeros come first.

    >>> proxies_of_classes(torch.tensor([0.5, 0.5, 0.0, 1.0, 1.0]))
    [2, 2, 1]
    """
    counts, total, begin = [], 0.0, 0
    for position, share in enumerate(shares.double().tolist()):
        total += share
        if abs(total - 1) < 1e-3:
            counts.append(position + 1 - begin)
            total, begin = 0.0, position + 1
    return counts if begin == len(shares) else None


def copy_proxies(
    own: Tensor, stored: Tensor, new_counts: Sequence[int], old_counts: Sequence[int], sources: Sequence[int]
) -> Tensor:
    """Rows of proxies (sum of counts, ...) of the classes that the checkpoint has.

    Of a class with more proxies in the checkpoint, the last ones are taken, which have the largest shares; with fewer, the others keep
    the values of ``own``.
    """
    result = own.detach().clone()
    new, old = result.split(list(new_counts)), stored.to(result).split(list(old_counts))
    for label, source in enumerate(sources):
        if source >= 0:
            count = min(len(new[label]), len(old[source]))
            new[label][len(new[label]) - count :] = old[source][len(old[source]) - count :]
    return result


def sums_to_one(shares: Tensor, counts: Sequence[int]) -> Tensor:
    """Shares whose sum is 1 for each class: equal ones where it is not."""
    parts = [
        part if torch.isclose(part.sum(), part.new_ones(())) else torch.full_like(part, 1 / len(part))
        for part in shares.split(list(counts))
    ]
    return torch.cat(parts)
