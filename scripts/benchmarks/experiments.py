"""The lines and tables of docs/results.md: which experiments they run, with which overrides and seeds."""

from dataclasses import dataclass

SEEDS = tuple(f"seed={seed}" for seed in (0, 1, 2))
FOLDS = tuple(f"data.source.fold={fold}" for fold in range(10))
FIVE = tuple(f"seed={seed}" for seed in range(5))
ALONE = {
    "clinc150": ["~members.mnist", "~members.fsdd", "~members.mutag"],
    "mnist": ["~members.clinc150", "~members.fsdd", "~members.mutag"],
    "fsdd": [
        "~members.clinc150",
        "~members.mnist",
        "~members.mutag",
        "members.fsdd.data.weight=1",
        "steps_per_epoch=100",
    ],
    "mutag": [
        "~members.clinc150",
        "~members.mnist",
        "~members.fsdd",
        "members.mutag.data.weight=1",
        "steps_per_epoch=50",
    ],
}


@dataclass(frozen=True)
class Run:
    """One line of the table: an experiment, its metrics, and what varies from run to run.

    Args:
        experiment: a file of `conf/experiment`, or of another group.
        metrics: names in `metrics.json`.
        varied: one override for each run.
        fixed: overrides of all runs.
        begins: the line that they begin from: its run of the same seed, or its first where it has none.
        group: of `conf`, that the experiment is of.
    """

    experiment: str
    metrics: tuple[str, ...]
    varied: tuple[str, ...] = SEEDS
    fixed: tuple[str, ...] = ()
    begins: str | None = None
    group: str = "experiment"


def _ways(stage: str) -> tuple[str, ...]:
    pairs = [(a, b) for a in ("vision", "audio", "text") for b in ("vision", "audio", "text") if a != b]
    return tuple(f"find/{stage}/{a}_to_{b}/recall@1" for a, b in pairs)


# A frozen core without weights to begin from: one that mixes tokens at random, and one as cores begin, which hardly
# changes what passes through it.
_RANDOM = ("core.output_init=same", "core.init_std=0.1")
_QUIET = ("core.output_init=depth_scaled",)
_GPT = (
    "embedder=ids",
    "~embedder.embedder",
    "embedder.dropout=0.3",
    "task.rule._target_=omniformer.core.rules.Causal",
)
_FEW = "data.train_share=0.05"
_FEW_SOUNDS = (_FEW, "steps_per_epoch=75")  # as many steps as all of them make
# Rates were chosen on validation among 0.002 and 0.005 (head and LoRA: up to 0.05).
_ALL = {("requests", ""): ["optim.lr=0.005"]}
_ADAPTED = ("test/in_scope_accuracy", "test/out_of_scope_recall", "trained_parameters")
_ACCURACY = ("test/accuracy",)
_BITS = ("test/bits_per_dim",)
_BOTH_WAYS = tuple(f"test/{way}/recall@{k}" for way in ("graph_to_text", "text_to_graph") for k in (1, 10))
_BESIDE = ("baselines=true",)
_SETS = {"reviews": _ACCURACY, "requests": _ADAPTED}


def _fine_tuning() -> dict[str, Run]:
    """Both pre-trained models on both labelled sets, with all labels and with few, beside training from scratch."""
    return {
        f"finetune_{name}_{model}{few}{scratch}": Run(
            f"finetune_{name}",
            metrics,
            SEEDS,
            (*overrides, *([_FEW] if few else _ALL.get((name, scratch), []))),
            None if scratch else f"{model}_pretrain",
        )
        for name, metrics in _SETS.items()
        for model, overrides in {"bert": (), "gpt": _GPT}.items()
        for few in ("", "_few")
        for scratch in ("", "_scratch")
    }


def _few_sounds() -> dict[str, Run]:
    """A core that has read pictures on 120 sounds, beside cores that have read nothing."""
    whole = ("model.freeze=[]",)
    ways = {"whole": (whole, None), "begun": (whole, "mnist"), "frozen": ((), "mnist"), "random": (_RANDOM, None)}
    return {
        f"transfer_audio_{way}_few": Run(
            "transfer_audio", _ACCURACY, SEEDS[: 2 if fixed == whole else 1], (*fixed, *_FEW_SOUNDS), begins
        )
        for way, (fixed, begins) in ways.items()
    }


# Sets that pretrain_four never saw, with few of their labels.
_NEIGHBOURS = (
    "task.rule={_target_: omniformer.core.rules.any_of, rules: {"
    "neighbours: {_target_: omniformer.core.rules.Neighbours}, itself: {_target_: omniformer.core.rules.Self}}}"
)
_FEW_LABELS = {
    "requests": ("text", "test/accuracy", (
        "modality=text", "data=clinc150", "data.source.out_of_scope=false", "data.train_share=0.0667",
        "data.batch_size=32", "tokenizer=bpe", "tokenizer.vocab_size=4096", "embedder=ids_maskable",
        "embedder.embedder.init_std=0.5", "task=classification")),
    "digits": ("vision", "test/accuracy", (
        "modality=vision", "data=digits", "data.train_share=0.05", "tokenizer=patches", "tokenizer.patch_size=7",
        "tokenizer.channels=1", "tokenizer.image_size=[28,28]", "embedder=vectors_maskable")),
    "sounds": ("audio", "test/accuracy", (
        "modality=audio", "data=fsdd", "data.train_share=0.05", "tokenizer=spectrogram_8khz",
        "embedder=vectors_maskable")),
    "molecules": ("graph", "test/rmse", (
        "modality=graph", "data=esol", "data.train_share=0.1", "tokenizer=molecules", "embedder=nodes_maskable",
        "task=regression", "task.head.pool={_target_: omniformer.heads.SumPool, _partial_: true}", _NEIGHBOURS)),
}  # fmt: skip
_LEARN_OF = {"text": ("words",), "vision": ("patches",), "audio": ("vowels", "sounds"), "graph": ("atoms",)}
_BRIEF = ("+trainer.limit_val_batches=10", "+trainer.limit_test_batches=4")  # the last weights count anyhow


def _without_labels() -> dict[str, Run]:
    """One core on four modalities without labels, and a core on each of them; on few labels of further sets, these
    frozen under a linear probe and trained on, a frozen core of random weights, and fresh ones, which also begin under
    a linear probe, and learn for four times the steps.
    """
    members = tuple(member for mine in _LEARN_OF.values() for member in mine)
    lines = {"pretrain_four": Run("pretrain_four", ("words/val/loss",), SEEDS, _BRIEF)}
    for modality, mine in _LEARN_OF.items():
        others = tuple(f"~members.{member}" for member in members if member not in mine)
        lines[f"pretrain_{modality}"] = Run("pretrain_four", ("val/loss",), SEEDS, (*others, *_BRIEF))
    frozen = ("model.freeze=[core.*,embedders.*]", "model.probe=true")
    for name, (modality, metric, words) in _FEW_LABELS.items():
        ways = {
            "four_frozen": (frozen, "pretrain_four"),
            "one_frozen": (frozen, f"pretrain_{modality}"),
            "random_frozen": ((*frozen, *_RANDOM), None),
            "four": ((), "pretrain_four"),
            "one": ((), f"pretrain_{modality}"),
            "scratch": ((), None),
            "scratch_probe": (("model.probe=true",), None),
            "scratch_long": (("steps_per_epoch=400", "baselines=true"), None),
        }
        for way, (fixed, begins) in ways.items():
            lines[f"few_{name}_{way}"] = Run("few_labels", (metric,), SEEDS, (*words, *fixed), begins)
    return lines


_DEFAULTS = {
    "vision": _ACCURACY,
    "text": ("test/bits_per_byte",),
    "audio": _ACCURACY,
    "graph": ("test/auroc",),
}

RUNS = {
    **{f"default_{name}": Run(name, metrics, group="modality") for name, metrics in _DEFAULTS.items()},
    "default_all": Run(
        "all", tuple(f"{name}/{metric}" for name, (metric,) in _DEFAULTS.items()), group="modality"
    ),
    "shakespeare_char": Run("shakespeare_char", ("best/val/loss",)),
    "shakespeare_char_long": Run("shakespeare_char_long", ("best/val/loss",), ("seed=0",)),
    "translation": Run("translation", ("test/bleu", "test/chrf"), ("seed=0",)),
    "intents": Run("intents", ("test/in_scope_accuracy", "test/out_of_scope_recall")),
    "spoken_digits": Run("spoken_digits", ("test/accuracy",)),
    "spoken_digits_theo": Run("spoken_digits", _ACCURACY, SEEDS, ("data.source.speaker=theo",)),
    "spoken_strings": Run("spoken_strings", ("test/wer", "test/exact_match"), ("seed=0",)),
    "spoken_strings_ctc": Run("spoken_strings_ctc", ("test/wer", "test/cer"), ("seed=0",)),
    "cifar10": Run("cifar10", _ACCURACY, SEEDS[:1], _BESIDE),
    "esc10": Run("esc10", _ACCURACY, tuple(f"data.source.fold={fold}" for fold in range(1, 6)), _BESIDE),
    "chebi20": Run("chebi20", _BOTH_WAYS, SEEDS[:1]),
    "text_to_image": Run("text_to_image", _BITS, SEEDS[:1], _BESIDE),
    "pixels": Run("pixels", _BITS, SEEDS[:1], _BESIDE),
    "mu_law": Run("mu_law", _BITS, SEEDS[:1], _BESIDE),
    "cora": Run("cora", ("test/accuracy",)),
    "mutag": Run("mutag", ("test/accuracy",), FOLDS),
    "nci1": Run("nci1", _ACCURACY, FOLDS, _BESIDE),
    "esol": Run("esol", ("test/rmse", "test/mae")),
    "moving_digits": Run("moving_digits", _ACCURACY, SEEDS[:1]),
    "wnut17": Run("wnut17", ("test/entity_f1",), SEEDS[:1]),
    "etth1": Run("etth1", ("test/rmse", "test/mae"), ("seed=0",), _BESIDE),
    **{
        f"etth1_{hours}": Run(
            "etth1",
            ("test/rmse", "test/mae"),
            ("seed=0",),
            (*_BESIDE, f"data.source.horizon={hours}", f"task.head.n_outputs={hours}"),
        )
        for hours in (192, 336, 720)
    },
    "emoji_clip": Run(
        "emoji_clip",
        tuple(f"test/{way}/recall@{k}" for way in ("text_to_vision", "vision_to_text") for k in (1, 5)),
        ("seed=0",),
    ),
    "captioning": Run("captioning", ("test/bleu", "test/chrf", "test/exact_match"), ("seed=0",)),
    "vqa": Run("vqa", ("test/exact_match",), ("seed=0",)),
    "digits_three_ways": Run(
        "digits_three_ways",
        (*_ways("test"), "name/test/accuracy", "name/test/accuracy/vision", "name/test/accuracy/audio",
         "name/test/accuracy/audio+vision", "name/test/accuracy/text"),
    ),
    **{
        f"digits_{modality}_alone": Run(
            "digits_three_ways",
            ("test/accuracy",),
            fixed=("~members.find", f"members.name.data.source.present=[{modality}]", "members.name.data.drop=0"),
        )
        for modality in ("vision", "audio")
    },
    "joint_real": Run(
        "joint_real",
        ("clinc150/test/in_scope_accuracy", "clinc150/test/out_of_scope_recall", "mnist/test/accuracy",
         "fsdd/test/accuracy", "mutag/test/accuracy"),
        FIVE,
    ),
    **{
        f"joint_{name}_alone": Run(
            "joint_real",
            ("test/in_scope_accuracy", "test/out_of_scope_recall") if name == "clinc150" else ("test/accuracy",),
            FIVE,
            tuple(overrides),
        )
        for name, overrides in ALONE.items()
    },
    "transfer": Run("transfer", _ACCURACY, SEEDS[:1], begins="joint_real"),
    "transfer_random": Run("transfer", _ACCURACY, SEEDS[:1], _RANDOM),
    "transfer_quiet": Run("transfer", _ACCURACY, SEEDS[:1], _QUIET),
    "transfer_whole": Run("transfer", _ACCURACY, SEEDS[:1], ("model.freeze=[]",)),
    "mnist": Run("mnist", _ACCURACY, SEEDS[:1]),
    "transfer_mnist": Run("transfer", _ACCURACY, SEEDS[:1], begins="mnist"),
    "transfer_audio": Run("transfer_audio", _ACCURACY, begins="mnist"),
    "transfer_audio_random": Run("transfer_audio", _ACCURACY, fixed=_RANDOM),
    "transfer_audio_quiet": Run("transfer_audio", _ACCURACY, SEEDS[:2], _QUIET),
    "transfer_audio_whole": Run("transfer_audio", _ACCURACY, fixed=("model.freeze=[]",)),
    "transfer_audio_begun": Run("transfer_audio", _ACCURACY, SEEDS[:1], ("model.freeze=[]",), "mnist"),
    **_few_sounds(),
    **_without_labels(),
    "bert_pretrain": Run(
        "bert_pretrain", ("hidden_reviews/test/perplexity", "hidden_requests/test/perplexity"), ("seed=0",)
    ),
    "gpt_pretrain": Run(
        "gpt_pretrain", ("next_in_reviews/test/perplexity", "next_in_requests/test/perplexity"), ("seed=0",)
    ),
    **_fine_tuning(),
    # What learns of the pre-trained model, of which all does in finetune_requests_bert.
    "finetune_requests_head": Run(
        "finetune_requests",
        _ADAPTED,
        fixed=("optim.lr=0.05", "model.freeze=[core.*,embedders.*]"),
        begins="bert_pretrain",
    ),
    "finetune_requests_lora": Run(
        "finetune_requests",
        _ADAPTED,
        fixed=("optim.lr=0.02", "model.lora={rank: 8, targets: [query, value]}"),
        begins="bert_pretrain",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Table:
    """Several lines beside each other: each cell is a metric of a line, None where there is none.

    Args:
        columns: their titles.
        rows: title and cells of each, a cell being a line of `RUNS` and a name in `metrics.json`.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[tuple[str, str] | None, ...]], ...]


_WAYS = {
    "random_frozen": "random weights, frozen",
    "one_frozen": "one modality, frozen",
    "four_frozen": "four, frozen",
    "scratch": "fresh",
    "scratch_probe": "fresh, head from a probe",
    "scratch_long": "fresh, 1,200 steps",
    "one": "one modality",
    "four": "four",
}
_JOINT = {
    "CLINC150, in scope": ("clinc150", "test/in_scope_accuracy"),
    "MNIST": ("mnist", "test/accuracy"),
    "spoken digits": ("fsdd", "test/accuracy"),
    "MUTAG, fold 0": ("mutag", "test/accuracy"),
}
TABLES = {
    "few_labels": Table(
        tuple(f"{name}, {metric.removeprefix('test/')}" for name, (_, metric, _) in _FEW_LABELS.items()),
        tuple(
            (said, tuple((f"few_{name}_{way}", metric) for name, (_, metric, _) in _FEW_LABELS.items()))
            for way, said in _WAYS.items()
        ),
    ),
    "joint_real": Table(
        ("jointly", "alone"),
        tuple(
            (said, (("joint_real", f"{name}/{metric}"), (f"joint_{name}_alone", metric)))
            for said, (name, metric) in _JOINT.items()
        ),
    ),
    "pre_training": Table(
        ("BERT-like", "from scratch", "GPT-like", "from scratch"),
        tuple(
            (
                f"{name}, {labels} labels",
                tuple(
                    (f"finetune_{name}_{model}{few}{scratch}", metrics[0])
                    for model in ("bert", "gpt")
                    for scratch in ("", "_scratch")
                ),
            )
            for name, metrics in _SETS.items()
            for few, labels in {"_few": "5 % of", "": "all"}.items()
        ),
    ),
}
