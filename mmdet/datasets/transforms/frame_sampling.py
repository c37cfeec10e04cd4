"""Choosing frames of a video: a key frame and others near it."""

import math
import random
from collections import defaultdict

from mmdet.errors import ArgumentError, DataError
from mmdet.registry import TRANSFORMS

from .base import DetTransform


@TRANSFORMS.register_module()
class BaseFrameSample(DetTransform):
    """Take the key frame of a video: a dict of a video becomes one of lists, one entry for each frame.

    The video holds ``images``, a dict for each frame, ``video_length``, and perhaps ``key_frame_id``, the place of the key frame among them;
    without it, a random one is taken. Each key of the frames becomes a list.

    Args:
        collect_video_keys: keys of the video that every frame gets. ``video_length`` becomes the number of frames taken, and
            ``ori_video_length`` that of the video.

    Raises:
        DataError: the video lacks one of these keys.
    """

    def __init__(self, collect_video_keys: list[str] | None = None):
        self.collect_video_keys = ['video_id', 'video_length'] if collect_video_keys is None else collect_video_keys

    def prepare_data(self, video_infos: dict, sampled_inds: list[int]) -> dict[str, list]:
        """The frames at these places, and what they get from the video."""
        lacking = [key for key in ('images', *self.collect_video_keys) if key not in video_infos]
        if lacking:
            raise DataError('the video lacks these keys', field=str(lacking), received=sorted(video_infos))
        found: dict[str, list] = defaultdict(list)
        video = {key: video_infos[key] for key in self.collect_video_keys}
        if 'video_length' in video:
            video['ori_video_length'], video['video_length'] = video['video_length'], len(sampled_inds)
        for index in sampled_inds:
            for key, value in {**video_infos['images'][index], **video}.items():
                found[key].append(value)
        return found

    @staticmethod
    def _key_frame(video_infos: dict) -> int:
        length = video_infos['video_length']
        return video_infos['key_frame_id'] if 'key_frame_id' in video_infos else random.sample(range(length), 1)[0]

    def transform(self, video_infos: dict) -> dict[str, list] | None:
        """Keep the key frame."""
        return self.prepare_data(video_infos, [self._key_frame(video_infos)])


@TRANSFORMS.register_module()
class UniformRefFrameSample(BaseFrameSample):
    """Take the key frame and random frames near it, in the order of the video; ``key_frame_flags`` tells which is the key frame.

    Args:
        num_ref_imgs: frames beside the key frame. Where the video has fewer in the range, each is taken about equally often.
        frame_range: farthest frames relative to the key frame, ``[-10, 10]``; a number is both.
        filter_key_img: do not take the key frame again.
        collect_video_keys: see :class:`BaseFrameSample`.

    Raises:
        TypeError, ArgumentError: an impossible ``frame_range``, or no frame in it; the latter an AssertionError, too.
    """

    def __init__(
        self,
        num_ref_imgs: int = 1,
        frame_range: int | list[int] = 10,
        filter_key_img: bool = True,
        collect_video_keys: list[str] | None = None,
    ):
        super().__init__(collect_video_keys)
        if not isinstance(frame_range, (int, list)):
            raise TypeError(f'frame_range must be a number or a list of two, received {frame_range!r}')
        both = [-frame_range, frame_range] if isinstance(frame_range, int) else frame_range
        if len(both) != 2 or not all(isinstance(end, int) for end in both) or not both[0] <= 0 <= both[1]:
            message = 'must be a number >= 0, or two of which one is <= 0 and the other >= 0'
            raise ArgumentError(message, field='frame_range', received=frame_range)
        self.num_ref_imgs, self.frame_range, self.filter_key_img = num_ref_imgs, both, filter_key_img

    def sampling_frames(self, video_length: int, key_frame_id: int) -> tuple[list[int], list[bool]]:
        """Places of the frames in a video of that length, rising, and for each whether it is the key frame."""
        first, last = (key_frame_id + end for end in self.frame_range)
        near = list(range(max(first, 0), min(last, video_length - 1) + 1))
        if self.filter_key_img:
            near = [index for index in near if index != key_frame_id]
        if not near:
            message = f'leaves no frame beside frame {key_frame_id} of {video_length}'
            raise ArgumentError(message, field='frame_range', received=self.frame_range)
        count = self.num_ref_imgs
        chosen = random.sample(near * math.ceil(count / len(near)), count)
        frames = sorted([*chosen, key_frame_id])
        flags = [False] * len(frames)
        flags[frames.index(key_frame_id)] = True
        return frames, flags

    def transform(self, video_infos: dict) -> dict[str, list] | None:
        """Keep the key frame and frames near it."""
        frames, flags = self.sampling_frames(video_infos['video_length'], self._key_frame(video_infos))
        found = self.prepare_data(video_infos, frames)
        found['key_frame_flags'] = flags
        return found
