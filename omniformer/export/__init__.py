"""Trained models as files that run without this project: torch.export programs and ONNX.

`python -m omniformer.export RUN --out FOLDER` writes them; `omniformer.export.write.export` is the same as a function.
Nothing is imported here, so that `--help` costs nothing.
"""
