"""Simple methods on the data of a run, so that its score has something beside it: one file a kind of data."""

from omniformer.baselines.baseline import Baseline, Score
from omniformer.baselines.problem import Problem, problem_of
from omniformer.baselines.store import beside, compute, numbers, stored

__all__ = ["Baseline", "Problem", "Score", "beside", "compute", "numbers", "problem_of", "stored"]
