"""Who may read a file that a library wrote."""

from pathlib import Path


def usual_rights(path: str | Path) -> None:
    """Gives a file the rights of any new one, which the umask decides: safetensors writes for its owner alone."""
    path = Path(path)
    probe = path.with_name(f".{path.name}.rights")
    probe.touch()
    path.chmod(probe.stat().st_mode)
    probe.unlink()
