"""One's own pictures, in folders named after their classes."""

from omniformer.data.folders import PICTURES, MediaFolder


class ImageFolder(MediaFolder):
    """Pictures as `<root>/<class>/*.png`, or `<root>/{train,val,test}/<class>/*.png` where the split is given.

    Files are decoded by the tokenizer, in the data workers. Without split folders, each class is split by the hashes
    of its file names. With them, a missing `val` or `test` stays empty.

    Args:
        root: the folder; a relative path is looked for where one stands, then under `data_root`.
        data_root: where data lies on this machine; None means the current folder alone.
        val: the share of validation, without split folders.
        test: the share of test, without split folders.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: a picture lies in no class folder; names it.
    """

    modalities = ("vision",)
    suffixes = PICTURES
