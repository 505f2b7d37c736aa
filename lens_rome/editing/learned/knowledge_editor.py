"""KnowledgeEditor (KE): an editor that has learned to mask and shift a gradient from the request's text.

KE (De Cao, Aziz and Titov 2021, https://arxiv.org/abs/2104.08164) reads prompt and target with a small recurrent
network, trained on other facts of the same model, which says how to weight the rows and columns of the gradient, what
rank-one matrix to add, and how far to go. An edit is one forward and one backward pass.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from lens_rome._typing import Model
from lens_rome.editing.learned.fit import FactsToLearn, LearnedEditor, learn
from lens_rome.editing.learned.ke_network import KnowledgeEditorNetwork
from lens_rome.editing.learned.network import Structure
from lens_rome.editing.learned.settings import check_count, check_rate
from lens_rome.editing.learned.trained import TrainedEditor


@dataclass(frozen=True, kw_only=True)
class KnowledgeEditor(LearnedEditor):
    """Settings of KE; `fit` trains it. Each request adds `s (G ⊙ a + b)` to the `W_in` and `W_out` of some blocks, with
    its gradient `G` and rank-one `a` and `b`: one factor a token and one more.

    The loss is MEND's, as in the code that published both; De Cao's own training holds the divergence below a bound
    instead.
    """

    width: int = 128
    """Of the LSTM, in each direction (512; De Cao 128)."""
    hidden: int = 128
    """Of the condition and of the layer between it and a matrix's rows and columns (768 and 512)."""
    step_size: float = 0.1
    """The change before training is about this times the gradient, downhill."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("width", self.width, 1)
        check_count("hidden", self.hidden, 1)
        check_rate("step_size", self.step_size)

    @property
    def name(self) -> str:
        """`"KE"`."""
        return "KE"

    def new_network(self, structure: Structure) -> KnowledgeEditorNetwork:
        """An untrained network: about a plain step of gradient descent."""
        return KnowledgeEditorNetwork(structure, self.width, self.hidden, self.step_size)

    def fit(
        self,
        model: Model,
        facts: FactsToLearn,
        *,
        validation: FactsToLearn,
        texts: Iterable[str],
        progress: bool = True,
        checkpoint: str | Path | None = None,
    ) -> "TrainedKnowledgeEditor":
        """Train an editor for a model; arguments and errors as in `MEND.fit`."""
        return TrainedKnowledgeEditor(self, learn(self, model, facts, validation, texts, progress, checkpoint))


@dataclass(frozen=True, eq=False, repr=False)
class TrainedKnowledgeEditor(TrainedEditor):
    """A trained KnowledgeEditor for one model."""

    editor_type: ClassVar[type[LearnedEditor]] = KnowledgeEditor
