"""Versions that do not fit together are one sentence; stubbed libraries stand for broken ones."""

import os
import subprocess
import sys

import pytest
from omniformer_tokenizers import versions

BROKEN = {
    "an object that cannot be loaded": "raise OSError('Could not load this library: /lib/libtorchaudio.so')",
    "a symbol that is missing": "raise ImportError('/lib/_torchaudio.so: undefined symbol: aoti_torch_abi')",
    "an operator that is not there": "raise RuntimeError('operator torchaudio::forced_align does not exist')",
    "another CUDA": "raise RuntimeError('Detected that PyTorch and TorchAudio differ in CUDA')",
    "a name that is gone": "import torch; torch.no_such_name",
    "a module that is gone": "import torch.no_such_module",
}
MARKS = {"a name that is gone": pytest.mark.slow}  # it imports torch, as the one after it does


@pytest.fixture
def stubbed(tmp_path):
    """Runs code beside a library whose import does what is given."""

    def run(code, source, library="torchaudio"):
        folder = tmp_path / library
        folder.mkdir(exist_ok=True)
        (folder / "__init__.py").write_text(source, encoding="utf-8")
        for name, version in ((library, "2.11.1"), ("torch", "2.12.1")):
            place = tmp_path / f"{name}-{version}.dist-info"
            place.mkdir(exist_ok=True)
            (place / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
        return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)

    return run


@pytest.mark.parametrize("source", [pytest.param(BROKEN[name], id=name, marks=MARKS.get(name, ())) for name in BROKEN])
def test_a_library_that_breaks_on_import_is_told_with_both_versions_and_the_line_that_mends_it(stubbed, source):
    code = "from omniformer_tokenizers._checks import need\ntry:\n    need('torchaudio.functional', 'resampling')\n"
    done = stubbed(code + "except ImportError as error:\n    print(error)", source)
    assert done.stdout.startswith("torchaudio 2.11.1 and torch 2.12.1 do not fit together ("), done.stderr
    assert done.stdout.endswith("): uv sync\n")
    assert done.stdout.count("\n") == 1


def test_outside_of_a_clone_the_line_has_the_ranges_of_our_own_release(monkeypatch, tmp_path):
    monkeypatch.setattr(versions, "__file__", str(tmp_path / "omniformer_tokenizers" / "versions.py"))
    asked = {"omniformer-framework-tokenizers": ["torch<2.16,>=2.13", "torchaudio<2.12,>=2.11.1; extra == 'audio'"]}
    monkeypatch.setattr(versions.metadata, "requires", asked.get)
    told = versions.mismatch(OSError("Could not load this library: libtorchaudio.so"))
    assert str(told).endswith("): pip install --force-reinstall 'torch<2.16,>=2.13' 'torchaudio<2.12,>=2.11.1'")


def test_a_late_failure_is_known_by_the_operator_or_object_that_its_message_names():
    for text in ("operator torchvision::nms does not exist", "/lib/libtorchvision.so: undefined symbol: x"):
        assert str(versions.mismatch(RuntimeError(text))).startswith("torchvision ")


@pytest.mark.parametrize("error", [ValueError("torchaudio::x"), OSError("no file"), ModuleNotFoundError(name="scipy")])
def test_other_errors_are_left_alone(error):
    assert versions.mismatch(error) is None
    with pytest.raises(type(error)), versions.fitting():
        raise error


def test_a_library_missing_inside_another_is_no_mismatch(stubbed):
    code = "from omniformer_tokenizers._checks import need\nneed('torchaudio', 'resampling')"
    assert "ModuleNotFoundError: No module named 'nothing_like_it'" in stubbed(code, "import nothing_like_it").stderr


def test_a_torch_that_cannot_be_loaded_is_told_alone(stubbed):
    code = "from omniformer_tokenizers.versions import fitting\nwith fitting():\n    import torch"
    done = stubbed(code, "raise OSError('libcudnn.so.9: cannot open shared object file')", library="torch")
    assert " cannot be loaded (libcudnn.so.9: cannot open shared object file): uv sync" in done.stderr
    assert "do not fit" not in done.stderr
