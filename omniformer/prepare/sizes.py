"""How large, how long, how much at a time: simple rules by the number of rows and their lengths, with reasons."""

from typing import Any

# Passes of the training rows, by their number: with few rows a model needs to see each often, with many seldom. The
# experiments that come along (docs/results.md) took 30 for 900 molecules, 8 for 8,500 sentences, 8 for 60,000 digits.
_PASSES = ((1_000, 40), (3_000, 25), (10_000, 12), (100_000, 6))
_LEAST, _MOST = 800, 20_000  # steps: fewer learn next to nothing (docs/results.md), more are a decision of one's own
_PARTS = 10  # validations in a run, each the end of an epoch of the configuration
_LARGE = 200_000  # rows from which the core of 10 million weights earns its cost; below, 0.8 million overfit less
_LONG = 512  # tokens: from here on a batch is halved, as attention and memory grow with the length
_SECOND = 100  # frames of a spectrogram
_ROOM = 2  # tokens for each character that is to be written from sounds: CTC needs one, and silence between equal ones
_WIDEST = 4  # frames: beyond 40 ms, which published recognisers have (Gulati et al. 2020), short words run together
_SIDE = {1: 64, 3: 96}  # pixels of a picture where there are few, grey and colour: found better than the other
_SIDE_OF_MANY = 128
_MANY = 10_000  # pictures from which a run is long anyway
_FEW = 50_000  # rows up to which a model would learn by heart, and drops out more


def sizes(rows: int, tokens: float, *, passes: int | None = None) -> dict[str, Any]:
    """What a run should cost.

    Args:
        rows: of training.
        tokens: of a sample, on average.
        passes: of the rows, where more steps than the least of a run come of them; None for some that shrink with their
            number.

    Returns:
        `core` (tiny or small), `batch_size`, `steps_per_epoch`, `epochs`, `dropout`, `lr`.

    Example:
        >>> sizes(1_000, 20)["steps_per_epoch"], sizes(1_000_000, 20)["core"]
        (80, 'small')
    """
    batch = 16 if tokens >= _LONG else 32
    passes = passes or next((times for most, times in _PASSES if rows < most), 3)
    steps = min(max(passes * rows // batch, _LEAST), _MOST)
    return {
        "core": "small" if rows >= _LARGE else "tiny",
        "batch_size": batch,
        "steps_per_epoch": steps // _PARTS,
        "epochs": _PARTS,
        "dropout": 0.2 if rows < _FEW else 0.1,
        "lr": 0.001,
    }


def patch(height: int, width: int) -> int:
    """The side of a patch, 2 to 16 pixels, so that at least 16 patches make a picture: convolutions see what lies
    within a patch and around it, so that few are enough.

    Example:
        >>> patch(8, 8), patch(32, 32), patch(64, 64), patch(480, 640)
        (2, 8, 16, 16)
    """
    side = 2
    while side < 16 and side * 4 < min(height, width):
        side *= 2
    return side


def frames_per_token(seconds: float) -> int:
    """How many frames of 10 ms make a token, so that a sound of usual length has about a hundred.

    Example:
        >>> frames_per_token(0.5), frames_per_token(5.0)
        (1, 5)
    """
    return min(max(round(seconds), 1), 10)


def frames_to_write(usual: float, fastest: float) -> int:
    """How many frames of 10 ms make a token where what is said is to be written (CTC): as many as leave two tokens for
    each character of usual speech, and one of the fastest; 4 at most. Of tokens that are shorter than needed nearly all
    must say nothing, and a model that begins by answering nothing needs long to leave that behind.

    Args:
        usual: characters a second, the median of samples.
        fastest: the most of any sample.

    Example:
        >>> frames_to_write(9.0, 20.0), frames_to_write(16.0, 20.0), frames_to_write(9.0, 60.0)
        (4, 3, 1)
    """
    widest = min(_SECOND / max(_ROOM * usual, fastest, 1.0), _WIDEST)
    return max(int(widest), 1)


def picture_size(height: int, width: int, rows: int, channels: int = 3) -> tuple[int, int]:
    """The height and width to which pictures are brought: a square as long as their longer side. Where there are few it
    is of 96 pixels at most, of which a network of convolutions takes two and a half minutes for 800 steps, and of 64
    for grey ones, mostly writing, whose strokes that leaves (docs/results.md); of 128 else. Pictures longer than three
    by two keep their shape, and as many pixels.

    Example:
        >>> picture_size(480, 640, 1_000), picture_size(480, 640, 100_000), picture_size(50, 200, 1_000, channels=1)
        ((96, 96), (128, 128), (32, 128))
    """
    most = _SIDE[channels] if rows < _MANY else _SIDE_OF_MANY
    if max(height, width) <= 1.5 * min(height, width):
        longest = min(max(height, width), most)
        side = patch(longest, longest)
        square = -(-longest // side) * side
        return square, square
    scale = min(most / (height * width) ** 0.5, 1.0)
    height, width = max(round(height * scale), 2), max(round(width * scale), 2)
    side = patch(height, width)
    return max(round(height / side), 1) * side, max(round(width / side), 1) * side


def vocabulary(rows: int) -> tuple[str, int]:
    """The tokenizer of texts and the most entries of its vocabulary: words where there are few texts, which then repeat
    themselves, and byte pairs where there are many.

    Example:
        >>> vocabulary(1_000), vocabulary(100_000)
        (('SpelledWordTokenizer', 8192), ('BPETokenizer', 8192))
    """
    return ("SpelledWordTokenizer", 8192) if rows < 50_000 else ("BPETokenizer", 8192)
