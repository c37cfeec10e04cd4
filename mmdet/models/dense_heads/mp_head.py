"""Multi-proxy head of UFPMP-Det (Huang et al., AAAI 2022): classes as sets of learned directions instead of linear filters.

Naming: as in GFLHead (B images, P priors, L levels, C classes, N positives), and M = B * P locations, D channels of an embedding,
K_c proxies of class c, K the largest of them, W words per class in the memory.
"""

import random
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from mmcv.cnn import Scale
from mmengine.dist import all_reduce, get_dist_info
from torch import Tensor, nn

from mmdet.errors import ConfigError
from mmdet.models.layers.sinkhorn import transport_cost
from mmdet.models.layers.word_memory import draw_words, push_words, word_log_likelihood
from mmdet.registry import MODELS

from .base_dense_head import Losses, RawOutputs
from .class_rows import copy_class_rows, copy_proxies, proxies_of_classes, sums_to_one
from .gfl_head import GFLHead, GFLTargets

_NEW_WORDS = 10  # that enter the memory of each class in one iteration at most
_KMEANS_REPEATS = 25  # random starts
_KMEANS_ITERS = 300  # limit; about ten are usual


@MODELS.register_module()
class MPHead(GFLHead):
    """GFL head that describes each class by several *proxies*: a class looks different from drone to drone, altitude to altitude.

    The class tower ends in an embedding e per location. With s_k the cosines of e and the proxies of class c,
    ``logit_c = gamma * sum_k softmax(gamma * s)_k * s_k``, which lies in [-gamma, gamma]; there is no bias.

    Two more losses, both times ``beta``:

    - ``loss_op``: the positives of each class are transported onto its proxies, which must receive the shares ``_proxies_prob``, so
      that all proxies stay in use. Cost (1 - cosine) / 2, entropy 0.1; mean over all C classes.
    - ``loss_emb``: each location, background too, is pulled towards the words of its own class in a memory of embeddings.

    While ``beta`` is 0, both losses are 0 and not computed; :class:`~mmdet.engine.hooks.OptimalTransportHook` sets it to 1. The memory
    (``_embedding``, ring pointers ``_pos_embedding_ptr``) is filled from the start: each training iteration writes up to 10 random
    embeddings of each class and of the background, drawn from the batches of all processes, so that every process holds the same
    memory. :meth:`update_ot` derives the shares from it.

    In training mode :meth:`forward` returns embedding maps (B, D, H_l, W_l) in the place of class logits, and :meth:`loss_by_feat` takes
    them; in evaluation mode it returns class logits (B, C, H_l, W_l).

    Args:
        num_words: W.
        beta: weight of the two losses at the start.
        gamma: sharpness of the choice among proxies, and scale of the logits.
        proxies_list: K_c of each class.
        *args, **kwargs: of :class:`GFLHead`. Embeddings have ``feat_channels`` channels.

    Raises:
        ConfigError: ``proxies_list`` that is not one positive number a class; ``num_words`` or ``gamma`` not positive.
    """

    # Without the class bias of the base: logits are cosines, and start near 0.
    _default_init_cfg = dict(type='Normal', layer='Conv2d', std=0.01)

    def __init__(
        self,
        *args: Any,
        num_words: int = 200,
        beta: float = 0,
        gamma: float = 10,
        proxies_list: tuple[int, ...] | list[int] = (2, 3, 2, 5, 4, 8, 8, 4, 3, 3),
        **kwargs: Any,
    ):
        if num_words < 1 or gamma <= 0:
            raise ConfigError('num_words and gamma must be positive', field='MPHead', received=(num_words, gamma))
        self.num_words, self.beta, self.gamma = num_words, beta, gamma
        self.proxies_list = tuple(proxies_list)
        super().__init__(*args, **kwargs)

    def _init_predictors(self) -> None:
        if len(self.proxies_list) != self.num_classes or min(self.proxies_list) < 1:
            message = f'must hold one positive number for each of the {self.num_classes} classes'
            raise ConfigError(message, field='proxies_list', received=list(self.proxies_list))
        channels = self._tower_channels
        dim, total, largest = self.feat_channels, sum(self.proxies_list), max(self.proxies_list)
        self.gfl_cls_conv = nn.Conv2d(channels, dim, 3, padding=1)
        self.gfl_reg = nn.Conv2d(channels, 4 * (self.reg_max + 1), 3, padding=1)
        self.proxies = nn.Parameter(torch.empty(total, dim).normal_(0, 0.01))
        # From lists, not by tensor operations that depend on values: the detector can be built on the meta device.
        uniform = [1 / count for count in self.proxies_list for _ in range(count)]
        self.register_buffer('_proxies_prob', torch.tensor(uniform))
        self.register_buffer('_embedding', torch.randn(self.num_classes + 1, self.num_words, dim))
        self.register_buffer('_pos_embedding_ptr', torch.zeros(self.num_classes + 1, dtype=torch.long))
        # Place of each proxy in a table of C rows and K columns.
        mask = [[k < count for k in range(largest)] for count in self.proxies_list]
        places = [row * largest + k for row, count in enumerate(self.proxies_list) for k in range(count)]
        self.register_buffer('_mask', torch.tensor(mask), persistent=False)  # (C, K)
        self.register_buffer('_places', torch.tensor(places), persistent=False)  # (sum K_c,)

    def take_class_rows(
        self, state_dict: dict, prefix: str, sources: Sequence[int], num_stored: int
    ) -> tuple[list[str], list[str]]:
        """As in the base class: the proxies of each class and their shares, and its words and those of the background in the memory."""
        names = ('proxies', '_proxies_prob', '_embedding', '_pos_embedding_ptr')
        stored = {name: state_dict.pop(f'{prefix}{name}') for name in names if f'{prefix}{name}' in state_dict}
        own = {name: getattr(self, name).detach() for name in names}
        found: dict[str, Tensor] = {}
        shares = stored.get('_proxies_prob')
        counts = None if shares is None else proxies_of_classes(shares)
        whole = 'proxies' in stored and stored['proxies'].shape[1:] == own['proxies'].shape[1:]
        if whole and counts is not None and len(counts) == num_stored and sum(counts) == len(stored['proxies']):
            for name in names[:2]:
                found[name] = copy_proxies(own[name], stored[name], self.proxies_list, counts, sources)
            found['_proxies_prob'] = sums_to_one(found['_proxies_prob'], self.proxies_list)
        for name in names[2:]:
            rows = copy_class_rows(own[name], stored[name], sources, num_stored) if name in stored else None
            if rows is not None:
                found[name] = rows
        state_dict.update({f'{prefix}{name}': value for name, value in found.items()})
        return [f'{prefix}{name}' for name in found], [f'{prefix}{name}' for name in stored if name not in found]

    # ----------------------------------------------------------------------------------------------- forward

    def forward_single(self, x: Tensor, scale: Scale) -> tuple[Tensor, Tensor]:
        """One level: embeddings (B, D, H, W) in training mode, class logits (B, C, H, W) otherwise; side logits (B, 4 n, H, W)."""
        embedding, reg_logits = super().forward_single(x, scale)
        return (embedding if self.training else self.classify_map(embedding)), reg_logits

    def _class_output(self, cls_feat: Tensor, reg_logits: Tensor) -> Tensor:
        return self.gfl_cls_conv(cls_feat)

    def classify_map(self, embedding: Tensor) -> Tensor:
        """Embeddings (B, D, H, W) to class logits (B, C, H, W), float32 or better also under autocast."""
        return self.classify(embedding.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    def classify(self, embeddings: Tensor) -> Tensor:
        """Embeddings (..., D) to class logits (..., C), float32 or better also under autocast."""
        with torch.autocast(embeddings.device.type, enabled=False):
            wide = embeddings.to(torch.promote_types(embeddings.dtype, torch.float32))
            return self._logits(F.normalize(wide, dim=-1))

    def _table(self, values: Tensor) -> Tensor:
        """One value (or row) a proxy, (sum K_c, ...), to (C, K, ...), zero where there is no proxy."""
        table = values.new_zeros(self._mask.numel(), *values.shape[1:]).index_copy(0, self._places, values)
        return table.unflatten(0, self._mask.shape)

    def _cosines(self, unit: Tensor) -> Tensor:
        """Cosines of embeddings of unit length (..., D) and all proxies, (..., C, K)."""
        directions = self._table(F.normalize(self.proxies.to(unit.dtype), dim=-1))  # (C, K, D)
        return (unit @ directions.flatten(0, 1).t()).reshape(*unit.shape[:-1], *self._mask.shape)

    def _logits(self, unit: Tensor) -> Tensor:
        """Embeddings of unit length (..., D) to logits (..., C)."""
        cosine = self._cosines(unit)  # (..., C, K)
        choice = (self.gamma * cosine).masked_fill(~self._mask, -torch.inf).softmax(-1)
        return self.gamma * (choice * cosine).sum(-1)

    # ------------------------------------------------------------------------------------------------ losses

    def _outputs_for_loss(self, x: tuple[Tensor, ...]) -> RawOutputs:
        """What :meth:`forward` returns in training mode, in either mode."""
        if self.training:
            return self(x)
        levels = [super(MPHead, self).forward_single(level, scale) for level, scale in zip(x, self.scales, strict=True)]
        return [embedding for embedding, _ in levels], [reg_logits for _, reg_logits in levels]

    def _outputs_to_decode(self, outputs: RawOutputs) -> RawOutputs:
        embeddings, bbox_preds = outputs
        return [self.classify_map(embedding) for embedding in embeddings], bbox_preds

    def _has_foreign_losses(self) -> bool:
        return False  # they have to give a value for each positive: there is no other way through this head

    def _losses_by_level(self, *args: Any) -> Losses:
        steps = ', '.join(self._step_names)
        raise ConfigError(f'is trained on all levels at once: its subclasses cannot replace {steps}', field='MPHead')

    def _losses(self, embeddings: Tensor, bbox_preds: Tensor, targets: GFLTargets) -> Losses:
        # Called by GFLHead.losses in float32, autocast off, with locations flattened: (M, D), (M, 4 n).
        unit = F.normalize(embeddings, dim=1)
        losses = super()._losses(self._logits(unit), bbox_preds, targets)
        if self.beta:
            losses['loss_op'] = self.beta * self.transport_loss(unit, targets)
            losses['loss_emb'] = [self.beta * part for part in self.contrastive_loss(unit, targets)]
        else:
            losses['loss_op'] = unit.new_zeros(())
            losses['loss_emb'] = list(unit.new_zeros(self.num_levels).unbind())
        if self.training:
            labels, count = targets.labels.flatten(), min(_NEW_WORDS, self.num_words)
            drawn = draw_words(embeddings.detach(), labels, targets.pos_inds, self.num_classes, count)
            push_words(self._embedding, self._pos_embedding_ptr, *drawn)
        return losses

    def transport_loss(self, unit: Tensor, targets: GFLTargets) -> Tensor:
        """Cost of transporting each class's positives onto its proxies, mean over all C classes; ``unit`` (M, D) has unit length."""
        labels = targets.labels.flatten()[targets.pos_inds]  # (N,)
        cosine = self._cosines(unit[targets.pos_inds])  # (N, C, K)
        own = cosine.gather(1, labels[:, None, None].expand(-1, 1, cosine.size(2))).squeeze(1)  # (N, K)
        distance = 1 - (own + 1) / 2
        return transport_cost(distance, labels, self._table(self._proxies_prob), self._mask).sum() / self.num_classes

    def contrastive_loss(self, unit: Tensor, targets: GFLTargets) -> list[Tensor]:
        """Negative log share of the own class among the memory's words, divided by positives and words; one sum per level.

        ``unit`` (M, D) holds embeddings of unit length; the background takes part as a class.
        """
        words = F.normalize(self._embedding.to(unit.dtype), dim=-1)
        likelihood = word_log_likelihood(unit, words, targets.labels.flatten())  # (M,)
        num_samples = unit.new_tensor(float(targets.num_samples))
        all_reduce(num_samples, op='mean')
        weighted = -(likelihood.view(targets.labels.shape) * targets.label_weights).sum(0)  # (P,)
        return [part.sum() / (num_samples * self.num_words) for part in weighted.split(targets.num_level_priors)]

    # ------------------------------------------------------------------------------------------------ memory

    @torch.no_grad()
    def update_ot(self, seed: int = 0) -> None:
        """Set the shares ``_proxies_prob`` of each class to the sizes of K_c cosine k-means clusters of its words.

        The shares of a class sum to 1 and ascend with the index of the proxy, as in the original. A cluster may be empty (share 0).
        The processes divide the classes among themselves and exchange the results; all must call this method.

        Args:
            seed: seed of the random starts; with the memory it determines the result.

        Raises:
            ConfigError: nltk is not installed.
        """
        check_kmeans()
        rank, world_size = get_dist_info()
        shares = torch.zeros_like(self._proxies_prob)
        for label, part in enumerate(shares.split(self.proxies_list)):
            if label % world_size == rank:
                words = self._embedding[label].double().cpu().numpy()
                part.copy_(torch.from_numpy(cluster_shares(words, len(part), random.Random(f'{seed} {label}'))))
        all_reduce(shares)
        self._proxies_prob.copy_(shares)


def check_kmeans() -> None:
    """Raise ConfigError unless nltk, whose k-means is used, is installed."""
    if find_spec('nltk') is None:
        raise ConfigError('the k-means of update_ot() needs nltk: pip install nltk', field='MPHead')


def cluster_shares(words: np.ndarray, num_clusters: int, rng: random.Random) -> np.ndarray:
    """Ascending shares of the clusters of (W, D) words, (num_clusters,), summing to 1.

    Words without a direction (of length 0, or not finite) are left out; the shares are equal when fewer words than clusters remain.
    """
    length = np.sqrt(np.square(words).sum(1))
    words = words[(length > 0) & np.isfinite(length)]
    if num_clusters == 1 or len(words) < num_clusters:
        return np.full(num_clusters, 1 / num_clusters)
    clusters = _clusterer(num_clusters, rng).cluster(list(words), assign_clusters=True)
    # Empty clusters count as 0: each class then has all its shares, and they sum to 1.
    return np.sort(np.bincount(clusters, minlength=num_clusters) / len(words))


def _clusterer(num_clusters: int, rng: random.Random) -> Any:
    """nltk's k-means by cosine distance, with the loops over vectors and means as matrix products (ten times faster)."""
    from nltk.cluster import KMeansClusterer, cosine_distance  # imported here: it takes a second

    class Clusterer(KMeansClusterer):
        _means: list[np.ndarray]

        def _cluster_vectorspace(self, vectors: list[np.ndarray], trace: bool = False) -> None:
            if self._num_means >= len(vectors):
                return  # the starting means are the words themselves
            words = np.stack(vectors)  # (W, D)
            means = np.stack(self._means)  # (K, D)
            unit = _normalise(words)
            # nltk's loop never ends where the means repeat in a cycle, which centroids of unnormalised vectors may do.
            for _ in range(_KMEANS_ITERS):
                nearest = (unit @ _normalise(means).T).argmax(1)
                member = nearest == np.arange(len(means))[:, None]  # (K, W)
                # avoid_empty_clusters: the old mean counts as one more vector.
                moved = (means + member.astype(float) @ words) / (1 + member.sum(1, keepdims=True))
                change = np.sum(1 - np.sum(_normalise(means) * _normalise(moved), axis=1))
                means = moved
                if change < self._max_difference:
                    break
            self._means = list(means)

    return Clusterer(num_clusters, cosine_distance, repeats=_KMEANS_REPEATS, avoid_empty_clusters=True, rng=rng)


def _normalise(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.finfo(rows.dtype).tiny)
