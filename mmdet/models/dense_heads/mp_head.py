"""Multi-proxy head of UFPMP-Det (Huang et al., AAAI 2022): classes as sets of learned directions instead of linear filters.

Naming: as in GFLHead (B images, P priors, L levels, C classes, N positives), and M = B * P locations, D channels of an embedding,
K_c proxies of class c, K the largest of them, W words a class in the memory.
"""

import random
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
from .gfl_head import GFLHead
from .gfl_targets import GFLTargets

# Most words that enter the memory of each class in one iteration.
_NEW_WORDS = 10
# Random starts of the k-means.
_KMEANS_REPEATS = 25
# Limit of the iterations of the k-means, which takes about ten.
_KMEANS_ITERS = 300


@MODELS.register_module()
class MPHead(GFLHead):
    """GFL head whose classes are several *proxies* each: a class looks different from drone to drone, altitude to altitude.

    The class tower ends in an embedding e per location. With s_k the cosines of e and the proxies of class c,
    ``logit_c = gamma * sum_k softmax(gamma * s)_k * s_k``, which lies in [-gamma, gamma]; there is no bias.

    Two more losses, both times ``beta``:

    - ``loss_op``: the positives of each class are transported onto its proxies, which must receive the shares ``_proxies_prob`` (they
      keep all proxies in use). Cost (1 - cosine) / 2, entropy 0.1; mean over all C classes.
    - ``loss_emb``: each location, background too, is pulled towards the words of its own class in a memory of embeddings.

    ``beta`` is 0 until :class:`~mmdet.engine.hooks.OptimalTransportHook` sets it to 1; both losses are then not computed and 0. The
    memory (``_embedding``, ring pointers ``_pos_embedding_ptr``) learns all the time: each training iteration writes up to 10 random
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

    @staticmethod
    def _default_init_cfg() -> dict:
        # Without the class bias of the base: logits are cosines, and start near 0.
        return dict(type='Normal', layer='Conv2d', std=0.01)

    def _init_predictors(self) -> None:
        if len(self.proxies_list) != self.num_classes or min(self.proxies_list) < 1:
            raise ConfigError(
                f'must hold one positive number for each of the {self.num_classes} classes',
                field='proxies_list',
                received=list(self.proxies_list),
            )
        channels = self.feat_channels if self.stacked_convs else self.in_channels
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

    # ----------------------------------------------------------------------------------------------- forward

    def forward_single(self, x: Tensor, scale: Scale) -> tuple[Tensor, Tensor]:
        """One level: embeddings (B, D, H, W) in training mode, class logits (B, C, H, W) otherwise; side logits (B, 4 n, H, W)."""
        embedding, reg_logits = self._embed_single(x, scale)
        return (embedding if self.training else self.classify_map(embedding)), reg_logits

    def _embed_single(self, x: Tensor, scale: Scale) -> tuple[Tensor, Tensor]:
        cls_feat, reg_feat = self.forward_towers(x)
        return self.gfl_cls_conv(cls_feat), scale(self.gfl_reg(reg_feat)).float()

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

    def _directions(self, dtype: torch.dtype) -> Tensor:
        """Proxies of unit length, (C, K, D)."""
        return self._table(F.normalize(self.proxies.to(dtype), dim=-1))

    def _logits(self, unit: Tensor) -> Tensor:
        """Embeddings of unit length (..., D) to logits (..., C)."""
        cosine = (unit @ self._directions(unit.dtype).flatten(0, 1).t()).unflatten(-1, self._mask.shape)  # (..., C, K)
        choice = (self.gamma * cosine).masked_fill(~self._mask, -torch.inf).softmax(-1)
        return self.gamma * (choice * cosine).sum(-1)

    # ------------------------------------------------------------------------------------------------ losses

    def _outputs_for_loss(self, x: tuple[Tensor, ...]) -> RawOutputs:
        """What :meth:`forward` returns in training mode, whatever the mode is."""
        if self.training:
            return self(x)
        outputs = [self._embed_single(level, scale) for level, scale in zip(x, self.scales, strict=True)]
        return [embedding for embedding, _ in outputs], [reg for _, reg in outputs]

    def _outputs_to_decode(self, outputs: RawOutputs) -> RawOutputs:
        embeddings, bbox_preds = outputs
        return [self.classify_map(embedding) for embedding in embeddings], bbox_preds

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
            self._remember(embeddings.detach(), targets)
        return losses

    def transport_loss(self, unit: Tensor, targets: GFLTargets) -> Tensor:
        """Cost of transporting each class's positives onto its proxies, mean over all C classes.

        Args:
            unit: (M, D) embeddings of unit length.
            targets: of this batch.
        """
        pos = targets.pos_inds
        labels = targets.labels.flatten()[pos]  # (N,)
        cosine = unit[pos] @ self._directions(unit.dtype).flatten(0, 1).t()  # (N, C K)
        columns = labels[:, None] * self._mask.size(1) + torch.arange(self._mask.size(1), device=pos.device)
        distance = 1 - (cosine.gather(1, columns) + 1) / 2  # (N, K) to the proxies of the own class
        return transport_cost(distance, labels, self._table(self._proxies_prob), self._mask).sum() / self.num_classes

    def contrastive_loss(self, unit: Tensor, targets: GFLTargets) -> list[Tensor]:
        """Negative log share of the own class among the memory's words, over positives and words; one sum a level.

        Args:
            unit: (M, D) embeddings of unit length.
            targets: of this batch.
        """
        words = F.normalize(self._embedding.to(unit.dtype), dim=-1)
        likelihood = word_log_likelihood(unit, words, targets.labels.flatten())  # (M,)
        num_samples = unit.new_tensor(float(targets.num_samples))
        all_reduce(num_samples, op='mean')
        weighted = -(likelihood.view(targets.labels.shape) * targets.label_weights).sum(0)  # (P,)
        return [part.sum() / (num_samples * self.num_words) for part in weighted.split(targets.num_level_priors)]

    # ------------------------------------------------------------------------------------------------ memory

    def _remember(self, embeddings: Tensor, targets: GFLTargets) -> None:
        count = min(_NEW_WORDS, self.num_words)
        drawn = draw_words(embeddings, targets.labels.flatten(), targets.pos_inds, self.num_classes, count)
        push_words(self._embedding, self._pos_embedding_ptr, *drawn)

    @torch.no_grad()
    def update_ot(self, seed: int = 0) -> None:
        """Set the shares ``_proxies_prob`` of each class to the sizes of K_c cosine k-means clusters of its words.

        The shares of a class sum to 1 and ascend: which proxy gets which share is thereby a matter of its index, as in the original.
        A cluster may be empty (share 0). Processes cluster the classes in turns and share the results; all must call this.

        Args:
            seed: of the random starts; with the memory it determines the result.

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
    """Raise ConfigError unless nltk, which holds the k-means, is installed."""
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
    """nltk's k-means by cosine distance, its innermost loop over vectors and means written as matrix products (ten times faster)."""
    from nltk.cluster import KMeansClusterer, cosine_distance  # takes a second: only for those who train this head

    class Clusterer(KMeansClusterer):
        _means: list[np.ndarray]

        def _cluster_vectorspace(self, vectors: list[np.ndarray], trace: bool = False) -> None:
            if self._num_means >= len(vectors):
                return  # the starting means are the words themselves
            words = np.stack(vectors)  # (W, D)
            means = np.stack(self._means)  # (K, D)
            unit = _normalise(words)
            # nltk's loop has no end where means go round in a circle, which centroids of unnormalised vectors may do.
            for _ in range(_KMEANS_ITERS):
                nearest = (unit @ _normalise(means).T).argmax(1)
                member = nearest == np.arange(len(means))[:, None]  # (K, W)
                # As avoid_empty_clusters wants it: the old mean counts as one more vector.
                moved = (means + member.astype(float) @ words) / (1 + member.sum(1, keepdims=True))
                change = np.sum(1 - np.sum(_normalise(means) * _normalise(moved), axis=1))
                means = moved
                if change < self._max_difference:
                    break
            self._means = list(means)

    return Clusterer(num_clusters, cosine_distance, repeats=_KMEANS_REPEATS, avoid_empty_clusters=True, rng=rng)


def _normalise(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.finfo(rows.dtype).tiny)
