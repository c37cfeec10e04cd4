"""New Python processes, as a user starts them."""

import subprocess
import sys
from collections.abc import Mapping, Sequence


def run(arguments: Sequence, *, cwd=None, env: Mapping[str, str] | None = None, timeout: float = 180):
    """Run ``python arguments`` to its end; see :func:`subprocess.run` for the others, the result and the errors."""
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=timeout)
