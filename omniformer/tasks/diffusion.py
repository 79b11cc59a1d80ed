"""Learning to take noise out of pictures."""

from dataclasses import replace

import torch
from torch import Tensor
from torchmetrics import MeanMetric, MetricCollection

from omniformer.batch import Batch
from omniformer.core.ranges import BelowOne, NotNegative
from omniformer.core.rules import Rule
from omniformer.generation.diffusion import Noise, generator, pictures
from omniformer.heads.denoising import DenoisingHead
from omniformer.model import OmniFormer
from omniformer.tasks.task import Stage, Step, Task, mean


class Diffusion(Task[DenoisingHead]):
    """Predicts the noise in a picture that a step of the schedule has put there, given what else the sample holds
    ([Ho et al. 2020](https://arxiv.org/abs/2006.11239), algorithm 1).

    The picture is the samples' answer, in vectors (patches). A core with cross-attention reads the given pieces, such
    as the words that describe it, as a memory; any other core reads them before the picture. The core has
    `AdaptiveNorm`, which tells it the step. Training draws step and noise anew each time; validation and test draw them
    by the sample's id, so that every epoch and every model is asked the same.

    Metrics: `mse` of all values, and `mse_q1` to `mse_q4` of the quarters of the schedule, the cleanest first.

    Args:
        head: predicts noise or velocity, and has the schedule.
        drop_text: how likely a training sample is shown nothing that is given, so that pictures can be guided away from
            what the model paints without ([Ho and Salimans 2022](https://arxiv.org/abs/2207.12598), 3.2). 0.1 as there.
        rule: who may attend to whom in the picture; everybody by default.
        loss_weight: factor of this task's loss in a mixture.

    Raises:
        ValueError: `drop_text` is not at least 0 and below 1.
    """

    needs_answer = True

    def __init__(
        self,
        *,
        head: DenoisingHead,
        drop_text: BelowOne = 0.1,
        rule: Rule | None = None,
        loss_weight: NotNegative = 1.0,
    ) -> None:
        if not 0 <= drop_text < 1:
            raise ValueError(f"drop_text={drop_text} must be at least 0 and below 1")
        super().__init__(head=head, rule=rule, loss_weight=loss_weight)
        self.drop_text = drop_text
        self.n_steps = head.n_steps

    def step(self, model: OmniFormer, batch: Batch, name: str, losses: dict[str, Tensor] | None = None) -> Step:
        _, part = pictures(batch)
        device = part.values.device
        t = torch.randint(self.n_steps, (len(batch),), device=device)
        noise = torch.randn_like(part.values)
        dropped = torch.rand(len(batch), device=device) < self.drop_text
        return self._compare(model, batch, name, t, noise, dropped, losses)

    def count(self, batch: Batch) -> int:
        return len(pictures(batch)[1].values)

    def measure(self, model: OmniFormer, batch: Batch, name: str, stage: Stage) -> Step:
        modality, part = pictures(batch)
        assert batch.answer is not None
        counts, device = batch.answer.counts[modality], part.values.device
        noise = Noise(batch.ids, counts, part.values.shape[1], seed=0, purpose="measure noise", device=device)()
        return self._compare(model, batch, name, self._fixed_steps(batch).to(device), noise, None, None)

    def metrics(self) -> MetricCollection:
        names = ("mse", "mse_q1", "mse_q2", "mse_q3", "mse_q4")
        # Each is fed on its own, with other numbers: no two may share a state.
        return MetricCollection({name: MeanMetric(nan_strategy="disable") for name in names}, compute_groups=False)

    def update(self, metrics: MetricCollection, step: Step, batch: Batch) -> None:
        modality, _ = pictures(batch)
        assert batch.answer is not None
        errors = (step.outputs.detach().float() - step.targets).square().mean(-1)
        quarter = self._fixed_steps(batch) * 4 // self.n_steps
        quarter = torch.repeat_interleave(quarter, batch.answer.counts[modality]).to(errors.device)
        metrics["mse"].update(errors)
        for i in range(4):
            metrics[f"mse_q{i + 1}"].update(errors[quarter == i])

    def _compare(
        self,
        model: OmniFormer,
        batch: Batch,
        name: str,
        t: Tensor,
        noise: Tensor,
        dropped: Tensor | None,
        losses: dict[str, Tensor] | None,
    ) -> Step:
        """The step with all that is drawn at random given; `dropped` says which samples are shown nothing."""
        crosses = model.writer.reads_memory
        if self.drop_text and not crosses:
            raise ValueError(
                f"drop_text={self.drop_text} takes the given pieces away from cross-attention, which this core has "
                "not; choose core=denoiser_tiny, or set drop_text to 0"
            )
        modality, part = pictures(batch)
        answer, head = batch.answer, self.head_of(model, name)
        assert answer is not None
        of_token = torch.repeat_interleave(t, answer.counts[modality].to(t.device))
        noisy = replace(part, values=head.mix(part.values, noise, of_token))
        memory = model.memory(batch) if crosses else None
        if memory is not None and dropped is not None:
            memory = memory.without(dropped)
        condition = head.condition(t)
        x, layout = model.decode(
            replace(batch, answer=replace(answer, parts={modality: noisy})),
            name,
            memory=memory,
            condition=condition,
            losses=losses,
        )
        outputs = head(x, layout, condition=condition)
        targets = head.target(part.values, noise, of_token)
        errors = (outputs.float() - targets).square()
        return Step(loss=mean(errors, outputs), count=len(targets), outputs=outputs, targets=targets)

    def _fixed_steps(self, batch: Batch) -> Tensor:
        """The step at which each sample is measured."""
        draws = [torch.rand((), generator=generator(0, each, "measure step")) for each in batch.ids]
        return (torch.stack(draws) * self.n_steps).long().clamp(max=self.n_steps - 1)
