"""Contents that lie somewhere else, and are fetched when they are read."""

from dataclasses import dataclass

_MOST_BYTES = 2_000_000_000


@dataclass(frozen=True, slots=True)
class Remote:
    """A file at an address, which the library `fsspec` understands.

    Args:
        address: with its scheme, such as `https://` or `s3://`.
    """

    address: str

    def read(self) -> bytes:
        """What the file holds, fetched anew each time.

        Raises:
            ValueError: it cannot be fetched, or holds more than 2 GB; names the address.
        """
        try:
            import fsspec

            with fsspec.open(self.address, "rb") as stream:
                content = stream.read(_MOST_BYTES + 1)  # pyright: ignore[reportAttributeAccessIssue]
        except Exception as error:  # of many kinds: of networks, of stores, of a library that is not installed
            told = " ".join(str(error).split())
            told = type(error).__name__ if told in ("", self.address) else told
            raise ValueError(f"{self.address!r} cannot be fetched: {told}") from error
        if len(content) > _MOST_BYTES:
            raise ValueError(f"{self.address!r} holds more than {_MOST_BYTES} bytes, the most that is fetched")
        return content
