"""Notices the distribution of somebody else that has our import name."""

import os
import sys
import warnings
from collections.abc import Sequence

NAME = "omniformer"


def warn_of_foreign(folders: Sequence[str] | None = None) -> None:
    """Warns where a distribution called `omniformer` is installed: the package index has one that is not ours.

    It only lists the folders of `sys.path`, and reads nothing.

    Args:
        folders: where to look; None for `sys.path`.
    """
    for folder in sys.path if folders is None else folders:
        try:
            names = os.listdir(folder or ".")
        except OSError:  # an archive, or a folder that is not there
            continue
        for name in names:
            stem, ending = os.path.splitext(name)
            if ending in (".dist-info", ".egg-info") and stem.partition("-")[0].lower() == NAME:
                version = stem.partition("-")[2].partition("-")[0] or "of unknown version"
                warnings.warn(
                    f"the distribution {NAME} {version} in {folder or os.getcwd()} is somebody else's and may have "
                    f"replaced files of this package, which is installed as omniformer-framework: run pip uninstall "
                    f"{NAME}, then install omniformer-framework again from your clone or wheel",
                    stacklevel=3,
                )
