"""Numbers with their ranges, as types of constructor arguments.

A configuration is checked against the ranges that annotations write, read from the source: `dropout: BelowOne = 0.0`
is all that a new parameter needs. The marks are those of `annotated_types`, which other libraries read too. A range
that only one class needs stands there: `letters: Annotated[int, Interval(ge=2, le=26)]`.
"""

from typing import Annotated

from annotated_types import Ge, Gt, Interval

Count = Annotated[int, Ge(1)]
"""How many there are of what must be there: heads, layers, classes."""
Natural = Annotated[int, Ge(0)]
"""How many there are of what may be missing, or a place counted from 0."""
Seed = Annotated[int, Interval(ge=0, le=4294967295)]
"""What keys random choices; up to 2^32 - 1, as every library's generator takes it."""
Positive = Annotated[float, Gt(0)]
"""A number such as a temperature, of which 0 would mean nothing."""
NotNegative = Annotated[float, Ge(0)]
"""A number such as a penalty, of which 0 means none."""
Share = Annotated[float, Interval(ge=0, le=1)]
"""A part of a whole, none and all among them."""
SomeShare = Annotated[float, Interval(gt=0, le=1)]
"""A part of a whole, without none."""
BelowOne = Annotated[float, Interval(ge=0, lt=1)]
"""A part of a whole that leaves something, such as dropout."""
