"""Where the configuration files are: inside the installed package, or beside it in a clone."""

from pathlib import Path


def conf_dir() -> Path:
    """The folder of the configuration groups.

    Raises:
        FileNotFoundError: neither place holds it; the installation is incomplete.

    Example:
        >>> (conf_dir() / "train.yaml").is_file()
        True
    """
    package = Path(__file__).resolve().parents[1]
    places = (package / "conf", package.parent / "conf")
    for place in places:
        if (place / "train.yaml").is_file():
            return place
    raise FileNotFoundError(f"no configuration in {places[0]} or {places[1]}; install omniformer again")
