"""The annotation files and image folders that a data set is given, one or several."""

import contextlib
import itertools
import os
from collections.abc import Iterator, Sequence
from typing import Any

from ..errors import ConfigError
from ..formats.joined_files import distinct_ids


class AnnotationFiles:
    """The part of a data set that knows its files: ``ann_file`` and ``data_prefix`` may be lists."""

    # Of mmengine's data set, the other base class.
    ann_file: Any  # a text, or a list of at least two
    data_root: str
    data_prefix: dict[str, Any]

    def load_data_list(self) -> list[dict]:
        """Records of the annotation file, or of all where :meth:`_joins_files`."""
        raise NotImplementedError

    def _join_prefix(self) -> None:
        """Put ``data_root`` before relative paths; unlike mmengine's, without asking a backend, which may not be allowed or installed."""
        files = [self.ann_file] if isinstance(self.ann_file, str | os.PathLike) or not self.ann_file else self.ann_file
        if not isinstance(files, Sequence) or not all(isinstance(file, str | os.PathLike | None) for file in files):
            raise ConfigError('must be a text, or a list of texts', field='ann_file', received=self.ann_file)
        if len(files) > 1 and not all(files):
            raise ConfigError('the names in a list must not be empty', field='ann_file', received=self.ann_file)
        files = [self._under_root(os.fspath(file)) if file else file for file in files]
        self.ann_file = files if len(files) > 1 else files[0]
        for key, prefix in self.data_prefix.items():
            several = isinstance(prefix, list | tuple)
            prefixes = list(prefix) if several else [prefix]
            if not all(isinstance(each, str) for each in prefixes):
                raise ConfigError('must be a text', field=f'data_prefix.{key}', received=prefix)
            if several and len(prefixes) != len(files):
                message = f'must be one folder, or one for each of the {len(files)} files of ann_file'
                raise ConfigError(message, field=f'data_prefix.{key}', received=prefix)
            prefixes = [self._under_root(each) for each in prefixes]
            self.data_prefix[key] = prefixes if len(prefixes) > 1 else prefixes[0]

    @property
    def _ann_name(self) -> str:
        """The annotation files for messages."""
        return ', '.join(map(str, self.ann_file)) if isinstance(self.ann_file, list) else str(self.ann_file or '')

    @contextlib.contextmanager
    def _part(self, number: int) -> Iterator[None]:
        """Inside it, ``ann_file`` and ``data_prefix`` are those of one file of the list."""
        files, prefixes = self.ann_file, self.data_prefix
        if isinstance(files, list):
            self.ann_file = files[number]
            self.data_prefix = {key: each[number] if isinstance(each, list) else each for key, each in prefixes.items()}
        try:
            yield
        finally:
            self.ann_file, self.data_prefix = files, prefixes

    def _under_root(self, path: str) -> str:
        if not self.data_root or '://' in path:
            return path
        return f'{self.data_root.rstrip("/")}/{path}' if '://' in self.data_root else os.path.join(self.data_root, path)

    @property
    def image_prefix(self) -> str:
        """Folder of the images: ``data_prefix['img']`` (or mmengine's ``img_path``)."""
        return self.data_prefix.get('img', self.data_prefix.get('img_path', ''))

    def _image_path(self, name: str) -> str:
        prefix = self.image_prefix
        return f'{prefix.rstrip("/")}/{name}' if '://' in prefix else os.path.join(prefix, name)

    def _joins_files(self) -> bool:
        """Whether ``load_data_list`` reads a list of annotation files itself."""
        return False

    def _load_one_by_one(self, count: int) -> list[dict]:
        parts: list[list[dict]] = []
        maps: list[dict] = []  # category id -> image ids, of the data sets that have them
        for number in range(count):
            with self._part(number):
                parts.append(self.load_data_list())
                maps.append(self.__dict__.get('cat_img_map', {}))
        old = [[record.get('img_id') for record in part] for part in parts]
        new = distinct_ids(old) if None not in itertools.chain.from_iterable(old) else old
        for part, ids in zip(parts, new):
            for record, image_id in zip(part, ids):
                if image_id is not None:
                    record['img_id'] = image_id
        joined: dict = {}
        for own, *ids in zip(maps, old, new):
            now = dict(zip(*ids))
            for category, image_ids in own.items():
                joined.setdefault(category, []).extend(now.get(image_id, image_id) for image_id in image_ids)
        if joined:
            self.cat_img_map = joined
        return list(itertools.chain.from_iterable(parts))
