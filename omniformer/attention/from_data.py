"""What the model of a run looks at in samples of the data that it learned from."""

from collections.abc import Sequence

from omniformer import finetuning
from omniformer.config import ConfigError
from omniformer.data.other import with_data_root
from omniformer.data.source import Split
from omniformer.inspection.looks import Look, look_at
from omniformer.predictor import Predictor
from omniformer.recipe import members
from omniformer.run_folder import read_run, reading_run


def looks_of(
    run: str,
    predictor: Predictor,
    places: Sequence[int],
    *,
    split: Split = "test",
    member: str | None = None,
    data_root: str | None = None,
    allow_targets: Sequence[str] = (),
) -> list[Look]:
    """What a model looks at in samples of a split; what it should have written is known there.

    Args:
        run: the run folder.
        predictor: its model.
        places: numbers of the samples, from 0.
        split: of the data.
        member: which task reads them, where there are several.
        data_root: where the data lie now; None for where they lay in training.
        allow_targets: packages of your own whose classes the run may name.

    Raises:
        ConfigError: there is no such sample, or several tasks and none is named; or the configuration names what it may
            not.
    """
    output, config = read_run(run)
    config = config if data_root is None else with_data_root(config, data_root)
    names = list(predictor.members)
    if (member or names[0]) not in names or (member is None and len(names) > 1):
        raise ConfigError([f"--member: received {member or 'none'}, accepted {', '.join(names)}"])
    task = member or names[0]
    with reading_run(config, allow_targets):
        data = finetuning.measured(output, predictor).data(config)
        samples = data.samples(task, split)
        if wrong := [place for place in places if not 0 <= place < len(samples)]:
            raise ConfigError([f"--index: received {wrong[0]}, accepted 0 to {len(samples) - 1}"])
        longest = members(config)[task]["task"].get("max_new_tokens") or 64
        return [look_at(predictor, samples(0, place), task, max_new_tokens=longest) for place in places]
