"""Numbers with their ranges, as types of constructor arguments: marks of `annotated_types`, for whoever checks them."""

from typing import Annotated

from annotated_types import Ge, Gt, Interval

Count = Annotated[int, Ge(1)]
"""How many there are of what must be there, such as mel bands."""
Natural = Annotated[int, Ge(0)]
"""How many there are of what may be missing, such as features of a node."""
Seed = Annotated[int, Interval(ge=0, le=4294967295)]
"""What keys random choices; up to 2^32 - 1, as every library's generator takes it."""
Positive = Annotated[float, Gt(0)]
"""A number such as a frequency, of which 0 would mean nothing."""
NotNegative = Annotated[float, Ge(0)]
"""A number such as a strength, of which 0 means none."""
Share = Annotated[float, Interval(ge=0, le=1)]
"""A part of a whole, none and all among them."""
