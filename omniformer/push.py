"""`omniformer push RUN OWNER/NAME`: gives a model to others, with its card, under a name of the hub."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from omniformer.config import reported
from omniformer.config.arguments import add_allow_targets, command_parser

if TYPE_CHECKING:
    from omniformer.predictor import Predictor


def main(arguments: Sequence[str] | None = None) -> None:
    """Puts the model of a run, or a published one, on the hub as one commit, and says its hash; a new repository is as
    the settings of its owner say, public for most. The card in the model's folder is seen by everybody who sees that.
    """
    given = build_parser().parse_args(arguments)
    with reported():
        sent, left, commit, private = push(
            given.run,
            given.name,
            private=given.private or None,
            licence=given.licence,
            allow_targets=given.allow_targets,
        )
        if left:
            print(f"({len(left)} files stay here, which nothing reads: {', '.join(left)})")
        print(f"pushed: {len(sent)} files to {given.name}, which is {'private' if private else 'public'}")
        print(f"to load it as it is now: omniformer.load({given.name!r}, revision={commit!r})")


def build_parser() -> argparse.ArgumentParser:
    """The options of this command."""
    parser = command_parser("push", description=main.__doc__)
    parser.add_argument("run", help="a run folder, the model folder in it, or the folder of a published model")
    parser.add_argument("name", metavar="OWNER/NAME", help="where it goes")
    parser.add_argument("--private", action="store_true", help="nobody else sees a new repository")
    parser.add_argument("--licence", metavar="ID", help="as the hub spells it, such as apache-2.0, for the card")
    add_allow_targets(parser)
    return parser


def push(
    run: str | Path,
    name: str,
    *,
    private: bool | None = None,
    licence: str | None = None,
    allow_targets: Sequence[str] = (),
) -> tuple[list[str], list[str], str, bool]:
    """Puts a model on the hub, once it has been loaded here from the files that are to go there.

    Args:
        run: a run folder, the `model` folder in it, or the folder of a published model.
        name: `owner/model`.
        private: whether a new repository is seen by nobody else; None for what its owner's settings say, which is
            public for most.
        licence: under which others may use it, as the hub spells it; goes into the card.
        allow_targets: packages of your own whose classes the model names.

    Returns:
        The files that went, those that did not, the hash of the commit, and whether the repository is private.

    Raises:
        FileNotFoundError: there is no such model.
        ValueError: it does not load, or the hub does not take it; or there is a licence for a card of your own words.
    """
    from omniformer import folder
    from omniformer.card import CARD_FILE
    from omniformer.pretrained.files import hub

    if not hub.is_name(name) or name.count("/") != 1 or "@" in name:
        raise ValueError(f"{name!r} is no name of the hub; give OWNER/NAME")
    if not Path(run).is_dir():
        raise FileNotFoundError(f"{run} is no folder; give a run, or a folder with a model in it")
    predictor = folder.load(run, allow_targets=allow_targets)
    place = Path(run) if folder.is_published(Path(run)) else folder.model_folder(Path(run))
    sent, left = hub.sendable(place)
    left = [each for each in left if each != CARD_FILE]
    if not any(each.endswith(".safetensors") for each in sent):
        raise ValueError(
            f"{place} holds no safetensors, and other weights are not pushed; write them with save_pretrained"
        )
    if lost := [each for each in left if each.startswith("tokenizers/")]:
        raise ValueError(f"{place} holds files of tokenizers that nobody could fetch: {', '.join(lost)}")
    files: dict[str, bytes | Path] = {each: place / each for each in sent}
    if (text := _card(place, predictor, name, licence)) is not None:
        files[CARD_FILE] = text.encode()
    commit, seen = hub.send(name, files, private=private, said="A model of OmniFormer")
    return list(files), left, commit, seen


def _card(place: Path, predictor: "Predictor", name: str, licence: str | None) -> str | None:
    """The card that goes along: that of the folder where it has words of somebody's own, else one that knows its name;
    None for a published model without any.
    """
    from omniformer.card import CARD_FILE, card, is_ours
    from omniformer.pretrained.files import hub

    path = place / CARD_FILE
    if path.is_file() and not is_ours(path):
        if licence is not None:
            raise ValueError(
                f"{path} has words of your own; write the licence there, as license: {licence} in its head"
            )
        return path.read_text(encoding="utf-8")
    if not hub.is_own(place):
        return None if licence is None else card(predictor, title=name, place=name, licence=licence)
    if (place.parent / "config.yaml").is_file():
        from omniformer.report.card import run_card
        from omniformer.report.run import read

        return run_card(read(place.parent), predictor, place=name, licence=licence)
    return card(predictor, title=name, place=name, licence=licence)


if __name__ == "__main__":
    main()
