"""Limits of time that hold on a machine whose cores many programs share."""

import os


def of_idle(seconds: float) -> float:
    """How long what takes so many seconds on an idle machine may take on this one, by the load of the last minute."""
    return seconds * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
