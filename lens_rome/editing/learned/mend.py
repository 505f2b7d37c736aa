"""MEND: an editor that has learned what to make of a gradient.

MEND (https://arxiv.org/abs/2110.11309) takes the gradient of the wanted continuation apart into factors, one pair a
token, and has a small network, trained on other facts of the same model, turn them into those of an edit. An edit is
then one forward and one backward pass. Memory: the network, `4 · rank · (d_model + d_mlp)` numbers and some for each
kind of matrix.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from lens_rome._typing import Model
from lens_rome.editing.learned.fit import FactsToLearn, LearnedEditor, learn
from lens_rome.editing.learned.mend_network import MENDNetwork
from lens_rome.editing.learned.network import EditorNetwork, Structure
from lens_rome.editing.learned.settings import check_count, check_rate
from lens_rome.editing.learned.trained import TrainedEditor


@dataclass(frozen=True, kw_only=True)
class MEND(LearnedEditor):
    """Settings of MEND; `fit` trains it. Each request adds `-α Σ_t x̃_t ⊗ δ̃_t` to the `W_in` and `W_out` of some blocks.

    Right where the released code and its wrappers are not: the change is subtracted, as in the paper; the statistics
    that gradients are normalised by are made in training and stay; step sizes are named by matrix; no request is left
    out, and no token is added to the model.
    """

    rank: int = 64
    """Of the network's matrices (1920, or the whole size if that is less)."""
    step_size: float = 1e-3
    """α of every matrix before training (1e-4)."""
    step_size_lr: float = 1e-4
    """Adam's learning rate of the α, as published."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("rank", self.rank, 1)
        check_rate("step_size", self.step_size)
        check_rate("step_size_lr", self.step_size_lr)

    @property
    def name(self) -> str:
        """`"MEND"`."""
        return "MEND"

    def new_network(self, structure: Structure) -> MENDNetwork:
        """An untrained network: a plain step against the normalised gradient."""
        return MENDNetwork(structure, self.rank, self.step_size)

    def groups(self, network: EditorNetwork) -> list[dict[str, Any]]:
        """The step sizes have a learning rate of their own."""
        own = {name for name, _ in network.named_parameters() if name.startswith("step_sizes.")}
        parts = {name: [p for n, p in network.named_parameters() if (n in own) is name] for name in (True, False)}
        return [{"params": parts[False], "lr": self.lr}, {"params": parts[True], "lr": self.step_size_lr}]

    def fit(
        self,
        model: Model,
        facts: FactsToLearn,
        *,
        validation: FactsToLearn,
        texts: Iterable[str],
        progress: bool = True,
        checkpoint: str | Path | None = None,
    ) -> "TrainedMEND":
        """Train an editor for a model, which is unchanged. The same arguments give the same editor on one machine.

        Args:
            model: in evaluation mode; the editor will serve it alone.
            facts: records, whose paraphrases are the other wordings to learn, or requests.
            validation: the same, of other subjects; the network with the smallest loss on them is kept, and training
                stops when it has not become smaller for `patience` validations.
            texts: unrelated texts, on which an edited model shall say what it said before.
            progress: show a progress bar.
            checkpoint: a file to save to at each validation and to continue from.

        Raises:
            EditError: shared subjects, no facts or texts, a checkpoint of another training, or a loss that is not
                finite.
            SurfaceError, FactError: unsupported model, unusable request.
        """
        return TrainedMEND(self, learn(self, model, facts, validation, texts, progress, checkpoint))


@dataclass(frozen=True, eq=False, repr=False)
class TrainedMEND(TrainedEditor):
    """A trained MEND for one model."""

    editor_type: ClassVar[type[LearnedEditor]] = MEND
