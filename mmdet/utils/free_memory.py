"""How much memory a process can still get."""

from pathlib import Path

_CGROUP = Path('/sys/fs/cgroup')  # of version 2, as containers see their own


def available_memory() -> int | None:
    """Bytes that can be allocated without swapping, within the limit of the container; None where the system does not tell (not Linux)."""
    found = []
    try:
        lines = Path('/proc/meminfo').read_text(encoding='ascii').splitlines()
        found += [int(line.split()[1]) * 1024 for line in lines if line.startswith('MemAvailable:')]
    except OSError:
        return None
    try:
        limit, used = (_CGROUP / name for name in ('memory.max', 'memory.current'))
        found.append(max(int(limit.read_text()) - int(used.read_text()), 0))
    except (OSError, ValueError):  # no such file; 'max': no limit
        pass
    return min(found) if found else None
