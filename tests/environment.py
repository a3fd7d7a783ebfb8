"""What tests, and what they start, find in their environment: set before anything compiles. A plug-in of pytest."""

import os
import tempfile
from pathlib import Path

import jax

if jax.__version_info__ < (0, 11):  # what does not know the flag ends the process
    # Half of the time of these tests is XLA's. It compiles twice as fast in its older way, to slower code of the same
    # operations. What is set already holds: `make fidelity` sets nothing, which leaves it to XLA as for a user.
    os.environ.setdefault("XLA_FLAGS", "--xla_cpu_use_fusion_emitters=false")

_made = None
if "PYTEST_XDIST_WORKER" not in os.environ:
    _made = tempfile.TemporaryDirectory(prefix="prdp-explorer-tests-")
    # Inherited by pytest's workers, so that none compiles what another did. `make` names a folder that its parts share.
    os.environ.setdefault("PRDP_EXPLORER_CACHE", _made.name)
    os.environ["PRDP_EXPLORER_STORE"] = os.path.join(_made.name, "runs.sqlite")
os.environ["PRDP_EXPLORER_STORE"] = str(Path(os.environ["PRDP_EXPLORER_STORE"]).with_name(f"runs-{os.getpid()}.sqlite"))


def pytest_unconfigure() -> None:
    if _made is not None:
        _made.cleanup()
