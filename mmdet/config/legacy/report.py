"""Report of the translation of an old config."""

from dataclasses import dataclass, field


@dataclass
class UpgradeReport:
    """What :func:`~mmdet.config.legacy.config.upgrade_config` did.

    Attributes:
        translated: entries ``'old -> new'``.
        dropped: settings without an effect here, with the reason.
        unknown: settings that the translators do not know; they are kept as they are.
        notes: differences in meaning that remain, and options that avoid them.
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

    def keep(self, old: str) -> None:
        """Record an unknown setting, once."""
        _once(self.unknown, f'{old}: kept as it is')

    def note(self, text: str) -> None:
        """Record a difference in meaning, once."""
        _once(self.notes, text)

    def lines(self, *, translated: bool = True) -> list[str]:
        """One line for each entry; ``translated=False`` leaves out the plain translations."""
        parts = dict(translated=self.translated, dropped=self.dropped, unknown=self.unknown, note=self.notes)
        if not translated:
            del parts['translated']
        return [f'{name}: {entry}' for name, entries in parts.items() for entry in entries]


def _once(entries: list[str], entry: str) -> None:
    if entry not in entries:
        entries.append(entry)
