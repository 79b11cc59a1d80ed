"""Files of public data sets: found where they lie, or fetched on request, whole or not at all."""

from pathlib import Path
from urllib.error import URLError

from omniformer.data.source import resolve
from omniformer.files.durable import sha256_of


def obtain(
    path: str | Path, *, data_root: str | Path | None, url: str, sha256: str | None = None, download: bool = False
) -> Path:
    """The place of a data set's file, which is fetched first where it is missing and `download` allows it.

    A file appears under its name only once it is whole: `torch.hub` downloads beside it, checks and renames.

    Args:
        path: where the file belongs; relative paths count from `data_root`.
        data_root: where data lies on this machine; None means the current folder.
        url: where the file comes from.
        sha256: what it must hash to; None where its publisher may change it.
        download: whether to fetch a missing file; off by default, so that nobody's run reaches out unasked.

    Raises:
        FileNotFoundError: the file is missing and `download` is off; says where it belongs and where it comes from.
        ValueError: it cannot be fetched, or is not the file that was expected; names file and cause.
    """
    file = resolve(path, data_root)
    if not file.is_file():
        if not download:
            raise FileNotFoundError(
                f"no file {str(file)!r} (from {str(path)!r}, data_root={data_root}); set data_root to the folder that "
                f"holds it, or fetch it from {url} with download=true"
            )
        _fetch(url, file)
    if sha256 is not None and (found := sha256_of(file)) != sha256:
        raise ValueError(f"{file} is not the file that was expected: sha256 {found}, not {sha256}; delete it and retry")
    return file


def _fetch(url: str, file: Path) -> None:
    from torch.hub import download_url_to_file

    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        download_url_to_file(url, str(file), progress=False)
    except (URLError, OSError, RuntimeError) as error:
        raise ValueError(f"cannot fetch {url} into {file}: {error}") from error
