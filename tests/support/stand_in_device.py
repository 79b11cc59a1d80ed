"""An accelerator without hardware: numbers lie on the host, and tensors claim another device.

An operation that mixes devices fails as it would on a GPU; whatever makes the host wait for the device is counted, by
the line of the software that asks for it. Registering a device is for the whole process and for good: tests run what
needs one in a process of its own.
"""

import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import wraps
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributed.fsdp._fully_shard import _fsdp_collectives, _fsdp_param
from torch.utils._python_dispatch import return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

NAME = "standin"
_ROOT = Path(__file__).parents[2]
_aten = torch.ops.aten
# What a GPU cannot give before all of its work is done: a number on the host, or how large a result is.
_WAITING = {
    _aten._local_scalar_dense,
    _aten.is_nonzero,
    _aten.equal,
    _aten.nonzero,
    _aten.masked_select,
    _aten.bincount,
    _aten._unique2,
    _aten.unique_consecutive,
    _aten.unique_dim,
    _aten.repeat_interleave,
}
# What may read a device and write another.
_COPIES = {_aten._to_copy, _aten.copy_}
_library = torch.library.Library("_", "IMPL")  # kept: what is registered goes with it

waits: Counter[str] = Counter()
"""What has waited for the device so far, by line of the software."""


class OnDevice(Tensor):
    """A tensor that claims to lie on the device, around one that lies on the host."""

    inner: Tensor

    @staticmethod
    def __new__(cls, inner: Tensor) -> "OnDevice":
        self = Tensor._make_wrapper_subclass(
            cls,
            inner.size(),
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=torch.device(NAME, 0),
            requires_grad=False,
        )
        self.inner = inner
        return self

    def __tensor_flatten__(self) -> tuple[list[str], None]:
        return ["inner"], None

    @staticmethod
    def __tensor_unflatten__(inner: dict[str, Tensor], *_: Any) -> "OnDevice":
        return OnDevice(inner["inner"])

    def __repr__(self) -> str:  # pyright: ignore[reportIncompatibleMethodOverride]
        return f"OnDevice({list(self.shape)}, {self.dtype})"

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.inner.__reduce_ex__(protocol)  # files hold numbers, as of a tensor on a GPU

    def tolist(self) -> Any:
        """Numbers on the host."""
        return self.cpu().tolist()

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, *args, **(kwargs or {}))


def _run(func: Any, *args: Any, **kwargs: Any) -> Any:
    given = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
    ours = [each for each in given if isinstance(each, OnDevice)]
    target = kwargs.get("device")
    target = torch.device(target).type if target is not None else None
    if not ours and target != NAME:
        return func(*args, **kwargs)
    kind = func.overloadpacket
    _check_devices(func, kind, args, given, ours)
    if ours and _waits(kind, args, kwargs, target):
        waits[f"{_line()} {kind.__name__}"] += 1
    out = func(*tree_map(_inner, args), **tree_map(_inner, kwargs))
    if target not in (None, NAME) or kind is _aten._local_scalar_dense:
        return out  # to the host
    if kind is _aten.copy_ and not isinstance(args[0], OnDevice):
        return args[0]
    out = tree_map(lambda each: OnDevice(each) if isinstance(each, Tensor) else each, out)
    return return_and_correct_aliasing(func, args, kwargs, out)


def _inner(value: Any) -> Any:
    if isinstance(value, OnDevice):
        return value.inner
    return torch.device("cpu") if isinstance(value, torch.device) and value.type == NAME else value


def _check_devices(func: Any, kind: Any, args: Any, given: Sequence[Tensor], ours: Sequence[Tensor]) -> None:
    """Numbers of the host may take part as single ones, and as places to look at."""
    looked_at = {id(each) for each in args[1]} if kind in (_aten.index, _aten.index_put, _aten.index_put_) else set()
    theirs = [each for each in given if not isinstance(each, OnDevice) and each.dim() and id(each) not in looked_at]
    if ours and theirs and kind not in _COPIES:
        shapes = [f"{list(each.shape)} on {each.device}" for each in given]
        raise RuntimeError(f"{func} mixes devices: {', '.join(shapes)}; all tensors must be on one")


def _waits(kind: Any, args: Any, kwargs: dict[str, Any], target: str | None) -> bool:
    if kind is _aten._to_copy:
        return target not in (None, NAME) and not kwargs.get("non_blocking", False)
    if kind is _aten.copy_:
        return isinstance(args[1], OnDevice) and not isinstance(args[0], OnDevice)
    if kind in (_aten.index, _aten.index_put, _aten.index_put_):  # a mask is as many places as it has true values
        return any(each is not None and each.dtype in (torch.bool, torch.uint8) for each in args[1])
    if kind is _aten.repeat_interleave:
        return kwargs.get("output_size") is None
    return kind in _WAITING


def _line() -> str:
    """The innermost line of the software, or of a library that it calls, where torch itself is not one."""
    for frame in reversed(traceback.extract_stack()):
        path = Path(frame.filename)
        if path.is_relative_to(_ROOT) and path.relative_to(_ROOT).parts[0] in ("omniformer", "tokenizers"):
            return f"{path.relative_to(_ROOT)}:{frame.lineno} {frame.line}"
        if "site-packages" in path.parts and "torch" not in path.parts:
            return f"{'/'.join(path.parts[path.parts.index('site-packages') + 1 :])}:{frame.lineno} {frame.line}"
    return "elsewhere"


class _Stream:
    """Work beside the host's; here all is done when it is asked for, so that nothing waits."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def wait_event(self, event: Any) -> None:
        pass

    def wait_stream(self, stream: Any) -> None:
        pass

    def record_event(self, event: Any = None) -> "_Event":
        return _Event()

    def synchronize(self) -> None:
        pass


class _Event:
    """A moment of a stream."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def record(self, *args: Any) -> "_Event":
        return self

    def synchronize(self) -> None:
        pass


class _Module:
    """What torch asks of a device's module."""

    Stream = _Stream
    Event = _Event

    @staticmethod
    def is_available() -> bool:
        return True

    @staticmethod
    def device_count() -> int:
        return 1

    @staticmethod
    def current_device() -> int:
        return 0

    @staticmethod
    def set_device(device: Any) -> None:
        pass

    @staticmethod
    def current_stream(*device: Any) -> _Stream:
        return _Stream()

    @staticmethod
    def stream(stream: _Stream) -> Any:
        return nullcontext()

    @staticmethod
    def is_initialized() -> bool:
        return True

    @staticmethod
    def _is_in_bad_fork() -> bool:
        return False

    @staticmethod
    def manual_seed_all(seed: int) -> None:
        pass


def register() -> None:
    """The device is there from now on."""
    _setup_privateuseone_for_python_backend(NAME, backend_module=_Module())
    _library.fallback(_run, "PrivateUse1")
    # A module that moves keeps its parameters, and with them those that two parts share, as it does on a GPU.
    torch.__future__.set_swap_module_params_on_conversion(True)
    for name in ("tensor", "as_tensor"):  # which bypass what is registered
        setattr(torch, name, _sent(getattr(torch, name)))


def keep_storage() -> None:
    """Lets FSDP2 run: of a tensor around another one it cannot take the memory away and give it back."""
    _fsdp_param.free_storage = _fsdp_param.alloc_storage = lambda tensor: None
    _fsdp_collectives.record_grad_output_stream = lambda *args: None


def _sent(make: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Makes a tensor on the host first, where it is asked for on the device."""

    @wraps(make)
    def made(*args: Any, device: Any = None, **kwargs: Any) -> Tensor:
        if device is None or torch.device(device).type != NAME:
            return make(*args, device=device, **kwargs)
        return make(*args, **kwargs).to(device)

    return made
