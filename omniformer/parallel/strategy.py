"""The strategies of Lightning that divide weights, gradients and optimizer states between processes."""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from contextlib import ExitStack, nullcontext
from datetime import timedelta
from typing import Any, Literal

import torch
from lightning.fabric.utilities.device_dtype_mixin import _update_properties
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor
from torch.distributed.tensor.parallel import loss_parallel
from torch.optim import Optimizer
from torchmetrics import Metric

from omniformer.core import checks
from omniformer.core.ranges import Count
from omniformer.model import OmniFormer
from omniformer.parallel import context, fsdp, readers, shards, tensor_parallel, vocabulary
from omniformer.parallel.skeleton import Skeleton, gather
from omniformer.parallel.tensors import like


class FSDP(DDPStrategy):
    """Fully sharded data parallelism (FSDP2): each of n processes holds an n-th of weights, gradients and optimizer.

    A step is that of one process, as with DDP. Validation and test hold the weights whole for a batch at a time, but
    no gradients and no optimizer. Checkpoints are written by all processes, each its pieces, and can be resumed by any
    number of them, also by one (`omniformer.parallel.shards`).

    Args:
        reshard_after_forward: whether a block's weights are let go after the forward pass, and gathered again in the
            backward pass. On by default, which is what the memory is saved by; off saves a third of the communication.
        param_dtype: "bfloat16" halves what gathering weights costs, with `trainer.precision=bf16-mixed`; by default
            they are gathered as they are. Gradients are added up in float32 either way.
        offload: whether the pieces of weights, gradients and optimizer states stay in the host's memory, where the
            optimizer steps; a block's weights are copied to its device when they are gathered. Off by default: a step
            then waits for the host.
    """

    together = 1
    """How many processes read the same samples."""

    def __init__(
        self,
        *,
        reshard_after_forward: bool = True,
        param_dtype: Literal["bfloat16"] | None = None,
        offload: bool = False,
    ) -> None:
        super().__init__()
        self.reshard_after_forward = reshard_after_forward
        self.offload = offload
        self.param_dtype = None if param_dtype is None else getattr(torch, param_dtype)
        self._mesh: DeviceMesh | None = None
        self._scalars: list[nn.Parameter] = []
        self._orders: dict[str, Tensor] = {}  # of rows, where they do not stand as in a whole model
        self.skeleton: Skeleton | None = None

    @property
    def patience(self) -> timedelta | None:
        """How long a process waits for another one before it gives up."""
        return self._timeout

    @patience.setter
    def patience(self, patience: timedelta) -> None:
        self._timeout = patience

    @property
    def restore_checkpoint_after_setup(self) -> bool:
        """Each process reads its pieces, so it must know them first."""
        return True

    def setup(self, trainer: Trainer) -> None:
        """Divides the module, then makes its optimizers."""
        assert self.accelerator is not None
        assert self.lightning_module is not None
        self.accelerator.setup(trainer)
        self.model = self.lightning_module
        if not isinstance(self.model, FSDPModule):
            self.precision_plugin.convert_module(self.model)
            if self._layer_sync:
                self.model = self._layer_sync.apply(self.model)
            self._divide(self.lightning_module)
        self.model_to_device()
        if trainer.state.fn == TrainerFn.FITTING:
            self.setup_optimizers(trainer)
        self.setup_precision_plugin()

    def _divide(self, module: LightningModule) -> None:
        """The order in which a model is made parallel: tensor parallelism, recomputed activations, compilation, FSDP2;
        each must see the modules that the one before has left.
        """
        shards.same_everywhere(module)
        self.skeleton = Skeleton(module.model)  # pyright: ignore[reportArgumentType]
        self._mesh = self._meet(module)
        self._scalars = fsdp.apply(
            module,
            self._mesh,
            reshard_after_forward=self.reshard_after_forward,
            param_dtype=self.param_dtype,
            offload=self.offload,
        )

    def model_to_device(self) -> None:
        """Moves the module, and of one whose pieces stay on the host what is not in pieces."""
        module = self.lightning_module
        assert module is not None
        if not self.offload:
            module.to(self.root_device)
            return
        for scalar in self._scalars:
            scalar.data = scalar.data.to(self.root_device)
        for part in module.modules():  # FSDP2 has moved the buffers
            if isinstance(part, Metric):
                part.to(self.root_device)
        _update_properties(module, device=self.root_device)

    def _get_process_group_backend(self) -> str:
        """Pieces on the host are added up and gathered between hosts, as for the norm of all gradients."""
        chosen, device = super()._get_process_group_backend(), self.root_device.type
        return f"cpu:gloo,{device}:{chosen}" if self.offload and device != "cpu" else chosen

    def _meet(self, module: LightningModule) -> DeviceMesh:
        """The processes between which all weights are divided; a subclass divides some of them otherwise before."""
        return init_device_mesh(self.root_device.type, (self.world_size,), mesh_dim_names=("data",))

    def post_backward(self, closure_loss: Tensor) -> None:
        """Averages the gradients of what could not be divided."""
        assert self._mesh is not None
        fsdp.average(self._scalars, self._mesh)

    def validation_step(self, *args: Any, **kwargs: Any) -> Any:
        """With the weights whole: a process without samples calls nothing, texts end at different lengths."""
        return self._evaluate(super().validation_step, *args, **kwargs)

    def test_step(self, *args: Any, **kwargs: Any) -> Any:
        """Likewise."""
        return self._evaluate(super().test_step, *args, **kwargs)

    def predict_step(self, *args: Any, **kwargs: Any) -> Any:
        """Likewise."""
        return self._evaluate(super().predict_step, *args, **kwargs)

    def _evaluate(self, step: Any, *args: Any, **kwargs: Any) -> Any:
        assert self.lightning_module is not None
        with fsdp.gathered(self.lightning_module):
            return step(*args, **kwargs)

    def reduce(self, tensor: Any, group: Any = None, reduce_op: Any = "mean") -> Any:
        """As DDP does; gradients that are held in pieces are the mean of all processes already."""
        return tensor if isinstance(tensor, DTensor) else super().reduce(tensor, group, reduce_op)

    def block_backward_sync(self) -> Any:
        """Nothing: gradients of micro-batches are added up in pieces, so that none is ever kept whole."""
        return nullcontext()

    def save_checkpoint(self, checkpoint: dict[str, Any], filepath: Any, storage_options: Any = None) -> None:
        """Saves on all processes together: each writes its pieces, the first one all the rest."""
        checkpoint = self._reordered(checkpoint, {name: order.argsort() for name, order in self._orders.items()})
        token = self.broadcast(shards.new_token())
        self.checkpoint_io.save_checkpoint(shards.split(checkpoint, token), self.broadcast(filepath), storage_options)

    def load_checkpoint(self, checkpoint_path: Any, weights_only: bool | None = None) -> dict[str, Any]:
        """Reads the pieces of this process; a checkpoint that is whole is read whole."""
        assert self._mesh is not None
        read = self.checkpoint_io.read(checkpoint_path)  # pyright: ignore[reportAttributeAccessIssue]
        return self._reordered(shards.fill(read, checkpoint_path, self._mesh, offload=self.offload), self._orders)

    def load_model_state_dict(self, checkpoint: Mapping[str, Any], strict: bool = True) -> None:
        """Takes over the weights, whatever pieces they come in."""
        assert self.lightning_module is not None
        held = self.lightning_module.state_dict()
        state = {name: like(each, held.get(name, each)) for name, each in checkpoint["state_dict"].items()}
        self.lightning_module.load_state_dict(state, strict=strict)

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        """Takes over the states of the optimizers, likewise."""
        for optimizer, state in zip(self.optimizers, checkpoint["optimizer_states"], strict=True):
            optimizer.load_state_dict(_alike(state, optimizer))

    def _reordered(self, checkpoint: dict[str, Any], orders: Mapping[str, Tensor]) -> dict[str, Any]:
        """A checkpoint with rows in other orders: of all that it keeps by names of weights, such as their averages and
        gradients, and of their optimizer states.
        """
        changed: dict[str, Any] = {
            key: tensor_parallel.reordered(each, orders)
            for key, each in checkpoint.items()
            if isinstance(each, Mapping) and each.keys() & orders.keys()
        }
        if orders and "optimizer_states" in checkpoint:
            assert self.lightning_module is not None
            names = {each: name for name, each in self.lightning_module.named_parameters()}

            def change(tensor: Tensor, parameter: Tensor) -> Tensor:
                name = names[parameter]  # pyright: ignore[reportArgumentType]
                return tensor_parallel.reordered({name: tensor}, orders)[name]

            states = zip(checkpoint["optimizer_states"], self.optimizers, strict=True)
            changed["optimizer_states"] = [_changed(state, optimizer, change) for state, optimizer in states]
        return checkpoint | changed

    def whole(self, model: nn.Module, *, keep: bool) -> nn.Module | None:
        """A copy of the trained model with all of its weights, on the host; all processes must ask.

        Args:
            model: of the module.
            keep: whether this process wants it; the others get None.
        """
        state = gather(model, keep=keep)
        if not keep or self.skeleton is None:
            return None
        inverse = {name.removeprefix("model."): order.argsort() for name, order in self._orders.items()}
        return self.skeleton.filled(tensor_parallel.reordered(state, inverse))

    def teardown(self) -> None:
        """Ends, and leaves the pieces where they are: they belong to a mesh of devices."""
        assert self.cluster_environment is not None
        assert self.accelerator is not None
        self.cluster_environment.teardown()
        self.precision_plugin.teardown()
        self.accelerator.teardown()
        self.checkpoint_io.teardown()


class Grouped(FSDP):
    """Groups of processes, of which each computes a part of the model for the same samples; a subclass says which.

    A step, checkpoints and the saved model are those of `FSDP`.

    Args:
        size: processes of a group, a divisor of their number; they wait for each other in every layer, so that all of
            a group should stand in one machine.
        reshard_after_forward: as for `FSDP`.
        param_dtype: likewise.
        offload: likewise.

    Raises:
        ValueError: `size` is below 1.
    """

    def __init__(
        self,
        *,
        size: Count,
        reshard_after_forward: bool = True,
        param_dtype: Literal["bfloat16"] | None = None,
        offload: bool = False,
    ) -> None:
        super().__init__(reshard_after_forward=reshard_after_forward, param_dtype=param_dtype, offload=offload)
        checks.counts(size=size)
        self.together = size
        self._readers: Any = None  # the processes that read other samples
        self._lasting = ExitStack()  # what is so until the end

    def setup(self, trainer: Trainer) -> None:
        """Likewise; what compares samples asks other groups alone."""
        super().setup(trainer)
        readers.are(self._readers)

    def teardown(self) -> None:
        """Likewise."""
        self._lasting.close()
        readers.are()
        super().teardown()

    def _meet(self, module: LightningModule) -> DeviceMesh:
        shape = (self.world_size // self.together, self.together)
        mesh = init_device_mesh(self.root_device.type, shape, mesh_dim_names=("data", "group"))
        self._readers = mesh["data"].get_group()
        for part in module.modules():
            if isinstance(part, Metric):
                part.process_group = self._readers
        return self._share(module, mesh)

    @abstractmethod
    def _share(self, module: LightningModule, mesh: DeviceMesh) -> DeviceMesh:
        """Divides the computation within each group.

        Args:
            module: still whole.
            mesh: of all processes, `data` between groups and `group` within one.

        Returns:
            The processes between which FSDP2 divides what is left whole.
        """


class TensorParallel(Grouped):
    """Tensor parallelism, and FSDP2 between groups of processes: each process computes a part of every block, its heads
    and its hidden features.

    So it has a part of each table of ids, and of the scores of the next id (`omniformer.parallel.vocabulary`). Other
    embedders, heads of tasks and norms are whole in each group, and computed by each of its processes. Which layers can
    be divided, `omniformer.parallel.tensor_parallel` says; masks of dropout within attention and feed-forward layers
    (`core.attention.dropout` and the like) are not those of one process.

    Args:
        **options: those of `Grouped`; `size` must divide heads, key heads and hidden features too.

    Raises:
        ValueError: at the beginning of a training, the model's layers cannot be divided.
    """

    def setup(self, trainer: Trainer) -> None:
        """Likewise; torch knows losses of divided scores, and their gradients, from now on."""
        super().setup(trainer)
        self._lasting.enter_context(loss_parallel())

    def _share(self, module: LightningModule, mesh: DeviceMesh) -> DeviceMesh:
        core: Any = module.model.core  # pyright: ignore[reportAttributeAccessIssue]
        orders = tensor_parallel.apply(core, mesh["group"])
        self._orders = {f"model.core.{name}": order for name, order in orders.items()}
        vocabulary.apply(module.model, mesh["group"])  # pyright: ignore[reportArgumentType]
        return mesh["data"]


class ContextParallel(Grouped):
    """Context parallelism, and FSDP2 between all processes: each process computes a part of the tokens of every sample
    in the core, and reads the keys and values of all.

    Embedders, heads of tasks and losses are computed by every process of a group, for all tokens; validation and test
    are not divided. Which layers can be divided, `omniformer.parallel.context` says; masks of dropout within the core
    are not those of one process.

    Args:
        **options: those of `Grouped`.

    Raises:
        ValueError: at the beginning of a training, the model's layers cannot be divided; at a step, tokens have edges
            or values of pairs.
    """

    def _share(self, module: LightningModule, mesh: DeviceMesh) -> DeviceMesh:
        context.apply(module.model.core, mesh["group"].get_group())  # pyright: ignore[reportAttributeAccessIssue, reportArgumentType]
        return super(Grouped, self)._meet(module)


def whole_model(trainer: Trainer, model: OmniFormer) -> OmniFormer:
    """A trained model with all of its weights: itself, or, where they are divided, a copy on the host of the first
    process. All processes must ask; the others get the model as it is.

    Args:
        trainer: that trained it.
        model: of its module.
    """
    strategy = trainer.strategy
    if not isinstance(strategy, FSDP) or strategy.skeleton is None:
        return model
    return strategy.whole(model, keep=trainer.is_global_zero) or model  # pyright: ignore[reportReturnType]


def _alike(state: dict[str, Any], optimizer: Optimizer) -> dict[str, Any]:
    """An optimizer's state with all tensors that have the shape of their parameter in its pieces."""
    return _changed(state, optimizer, like)


def _changed(state: dict[str, Any], optimizer: Optimizer, change: Callable[[Tensor, Tensor], Tensor]) -> dict[str, Any]:
    """An optimizer's state with all tensors changed that have the shape of their parameter, which is given too."""
    numbers = [number for group in state["param_groups"] for number in group["params"]]
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    held = dict(zip(numbers, parameters, strict=True))
    states = {
        number: {
            name: change(each, held[number]) if isinstance(each, Tensor) and each.shape == held[number].shape else each
            for name, each in own.items()
        }
        for number, own in state["state"].items()
    }
    return state | {"state": states}
