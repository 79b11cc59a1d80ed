"""What the values of several keys must have to do with each other: one table, checked before anything is built."""

from collections.abc import Mapping
from dataclasses import dataclass

_MOST_OFFERED = 65_536  # the largest divisor that a message looks for: a mistyped width may be of any size


@dataclass(frozen=True, slots=True)
class Setting:
    """A value, and the full key under which it stands."""

    key: str
    value: object

    def __str__(self) -> str:
        """The setting as one would type it."""
        return f"{self.key}={self.value}"


@dataclass(frozen=True, slots=True)
class Divides:
    """`part` divides `whole` without rest.

    Args:
        part: the name of the smaller value.
        whole: the name of the larger one.
        unless: a key that makes the relation void where it is set, here or in a part directly inside: heads whose width
            is given need not share the model's.

    Example:
        >>> heads = {"n_heads": Setting("core.n_heads", 5), "d_model": Setting("core.d_model", 12)}
        >>> print(Divides("n_heads", "d_model").problem(heads))
        core.n_heads=5 does not divide core.d_model=12; choose one of 1, 2, 3, 4, 6, 12
    """

    part: str
    whole: str
    unless: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the values concerned."""
        return self.part, self.whole

    def problem(self, settings: Mapping[str, Setting]) -> str | None:
        """The message where it does not divide."""
        part, whole = settings[self.part], settings[self.whole]
        if not _counts(part, whole) or whole.value % part.value == 0:  # pyright: ignore[reportOperatorIssue]
            return None
        most = min(int(whole.value), _MOST_OFFERED)  # pyright: ignore[reportArgumentType]
        divisors = [str(each) for each in range(1, most + 1) if whole.value % each == 0]  # pyright: ignore[reportOperatorIssue]
        return f"{part} does not divide {whole}; choose one of {', '.join(divisors)}"


@dataclass(frozen=True, slots=True)
class AtMost:
    """`small` is no larger than `large`.

    Example:
        >>> settings = {"min_lr": Setting("optim.min_lr", 0.1), "lr": Setting("optim.lr", 0.01)}
        >>> AtMost("min_lr", "lr").problem(settings)
        'optim.min_lr=0.1 is larger than optim.lr=0.01; make it at most 0.01'
    """

    small: str
    large: str

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the values concerned."""
        return self.small, self.large

    def problem(self, settings: Mapping[str, Setting]) -> str | None:
        """The message where it is larger."""
        small, large = settings[self.small], settings[self.large]
        if not _numbers(small, large) or small.value <= large.value:  # pyright: ignore[reportOperatorIssue]
            return None
        return f"{small} is larger than {large}; make it at most {large.value}"


RELATIONS: tuple[Divides | AtMost, ...] = (
    Divides("n_heads", "d_model", unless="head_dim"),
    Divides("n_kv_heads", "n_heads"),
    AtMost("min_epochs", "max_epochs"),
    AtMost("min_lr", "lr"),
    AtMost("seq_len", "max_seq_len"),
    AtMost("hop_length", "win_length"),
    AtMost("win_length", "n_fft"),
    AtMost("f_min", "f_max"),
)


def _numbers(*settings: Setting) -> bool:
    return all(isinstance(each.value, int | float) and not isinstance(each.value, bool) for each in settings)


def _counts(*settings: Setting) -> bool:
    return _numbers(*settings) and all(isinstance(each.value, int) and each.value >= 1 for each in settings)
