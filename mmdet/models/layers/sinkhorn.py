"""Entropic optimal transport of many small problems at once (Cuturi, "Sinkhorn Distances", NeurIPS 2013).

Naming: N rows (all groups together, in any order), G groups, K columns of a group (padded to the largest).
"""

import torch
from torch import Tensor

# Iterations between two checks whether all groups have converged: each check waits for the device. Converged groups do not change any more,
# so that a late check does not change the result.
_CHECK_EVERY = 5


def transport_cost(
    cost: Tensor,
    groups: Tensor,
    column_mass: Tensor,
    column_mask: Tensor,
    epsilon: float = 0.1,
    max_iters: int = 100,
    tolerance: float = 1e-8,
) -> Tensor:
    """Transport cost of each group's rows, which have equal mass, onto its columns; differentiable through all iterations.

    Each group solves ``min <T, D> - epsilon H(T)`` over plans T whose rows sum to 1 / (its rows) and whose columns sum to
    ``column_mass``, by scaling the kernel ``exp(-D / epsilon)``: rows first, then columns, both scalings starting at 1, until the
    mean absolute change of the row scaling is below ``tolerance``. A converged group no longer changes while others go on, so that
    the result of a group does not depend on the others.

    Args:
        cost: (N, K) D, finite also in padded columns. The kernel is not computed in logarithms: for costs in [0, 1] and an epsilon of
            0.1 its values are at least e^-10.
        groups: (N,) int64 group of each row, in [0, G).
        column_mass: (G, K); normally each row sums to 1. With another sum the iterations may not converge, and end after ``max_iters``.
        column_mask: (G, K) bool, False in padded columns.
        epsilon: weight of the entropy.
        max_iters: largest number of iterations.
        tolerance: change of the row scaling at which a group has converged.

    Returns:
        (G,) sum of ``T * D`` of each group; 0 for groups without rows.
    """
    num_groups = len(column_mass)
    # Sums over groups are products with a 0/1 matrix: deterministic on every device, unlike scattered additions.
    member = (groups[None, :] == torch.arange(num_groups, device=groups.device)[:, None]).to(cost.dtype)  # (G, N)
    count = member.sum(1)  # (G,)
    kernel = (-cost / epsilon).exp()  # (N, K)
    row_mass = member.t() @ (1 / count.clamp(min=1))  # (N,)
    column_mass = torch.where(column_mask, column_mass, 0).to(cost.dtype)
    absent = (count == 0)[:, None]
    running = count > 0  # (G,)
    u = torch.ones_like(row_mass)  # (N,)
    v = column_mask.to(cost.dtype)  # (G, K)
    for iteration in range(max_iters):
        if iteration % _CHECK_EVERY == 0 and not running.any():
            break
        new_u = row_mass / (kernel * (member.t() @ v)).sum(1)
        # A group without rows divides by 1: the NaN of 0 / 0 would reach the gradient although its value is not used.
        received = (member @ (kernel * new_u[:, None])).masked_fill(absent, 1)  # (G, K)
        new_v = column_mass / received
        row_running = running[groups]
        change = member @ (new_u - u).detach().abs() / count.clamp(min=1)  # (G,)
        u = torch.where(row_running, new_u, u)
        v = torch.where(running[:, None], new_v, v)
        running = running & (change >= tolerance)
    plan = u[:, None] * kernel * (member.t() @ v)  # (N, K)
    return member @ (plan * cost).sum(1)
