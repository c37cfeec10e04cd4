"""What a translation of an old config did, for people to read."""

from dataclasses import dataclass, field


@dataclass
class UpgradeReport:
    """What :func:`~mmdet.config.legacy.config.upgrade_config` did.

    Attributes:
        translated: ``'old -> new'``, one an entry.
        dropped: settings without an effect here, with the reason.
        unknown: settings that the reader does not know; they are kept as they were.
        notes: where the new config does not mean quite the same, or needs an option to do so.
    """

    translated: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def translate(self, old: str, new: str) -> None:
        """Record a translation, once."""
        _once(self.translated, f'{old} -> {new}')

    def drop(self, old: str, reason: str) -> None:
        """Record a setting that is left out, once."""
        _once(self.dropped, f'{old}: {reason}')

    def keep(self, old: str, what: str = 'kept as it is') -> None:
        """Record an unknown setting, once."""
        _once(self.unknown, f'{old}: {what}')

    def note(self, text: str) -> None:
        """Record a difference in meaning, once."""
        _once(self.notes, text)

    def lines(self, *, translated: bool = True) -> list[str]:
        """Everything, one line an entry; without the plain translations if those are not wanted."""
        parts = [('translated', self.translated if translated else []), ('dropped', self.dropped)]
        parts += [('unknown', self.unknown), ('note', self.notes)]
        return [f'{name}: {entry}' for name, entries in parts for entry in entries]


def _once(entries: list[str], entry: str) -> None:
    if entry not in entries:
        entries.append(entry)


__all__ = ['UpgradeReport']
