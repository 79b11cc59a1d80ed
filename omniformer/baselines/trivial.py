"""What needs no look at a sample: the most frequent class, the share of yes, the mean."""

from collections import Counter
from collections.abc import Mapping

import torch

from omniformer.baselines.baseline import Baseline, evaluated
from omniformer.baselines.problem import Answers, Problem
from omniformer.data.source import Split


class Trivial(Baseline):
    """Always the same answer: the most frequent class or text of training, each question's share of yes, the mean."""

    name = "always the same"

    def fits(self, problem: Problem) -> bool:
        return problem.kind != "ids"

    def answers(self, problem: Problem) -> Mapping[Split, Answers]:
        if problem.kind == "text":
            ((often, _),) = Counter(problem.texts("train")).most_common(1)
            return {split: [often] * len(problem.raws[split]) for split in evaluated(problem)}
        known = problem.targets("train")
        if problem.kind in ("label", "node"):
            answer = torch.bincount(known, minlength=problem.n_outputs).float()
        else:
            answer = known.nanmean(0).nan_to_num()
            answer = torch.logit(answer.clamp(1e-4, 1 - 1e-4)) if problem.kind == "labels" else answer
        return {split: answer.expand(len(problem.targets(split)), -1) for split in evaluated(problem)}
