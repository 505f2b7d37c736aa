"""Fine-tuning as an editor: a few steps of Adam on a few weights, with or without a bound on how far each may go.

FT and FT+L are baselines of ROME (https://arxiv.org/abs/2202.05262, §3.3); FT+L bounds every number's change (Zhu et
al., https://arxiv.org/abs/2012.00363). FT-1, FT-5 and the fit of token embeddings are those of Hase et al.
(https://arxiv.org/abs/2301.04213). The change is a dense matrix: it has no hook form and takes as much memory and disk
as the weights it changes.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from lens_rome._typing import Model
from lens_rome.editing.edit import Edit
from lens_rome.editing.requests import as_requests, warn_of_same_fact
from lens_rome.editing.rome import Moments
from lens_rome.editing.rows import Row, target_rows
from lens_rome.editing.search import differentiable
from lens_rome.editing.target_batch import target_probs
from lens_rome.editing.tuning import fit
from lens_rome.editing.tuning_settings import EMBEDDINGS, TuningSettings
from lens_rome.errors import EditError, SurfaceError
from lens_rome.facts import EditRequest
from lens_rome.surface import AbstractSurface, as_surface


@dataclass(frozen=True)
class FineTune(TuningSettings):
    """Fine-tuning of `parameters` of `layers` until the model says the targets.

    >>> FineTune((0,), norm_bound=5e-4).name
    'FT+L'
    """

    @property
    def makes_dense_edits(self) -> bool:
        """True: each edit is as large as the weights it changes, so hold few of them at a time."""
        return True

    @property
    def name(self) -> str:
        """`"FT"`, or `"FT+L"` with a bound."""
        return "FT" if self.norm_bound is None else "FT+L"

    @classmethod
    def window(cls, layer: int, width: int, n_layers: int, norm_bound: float | None = None) -> "FineTune":
        """FT-1 (`width` 1) and FT-5 (`width` 5) of Hase et al.: the layers around `layer`, fitted together, with the
        summed loss and five small losses in a row to end. See `window_layers`.
        """
        return cls(window_layers(layer, width, n_layers), norm_bound=norm_bound, reduction="sum", patience=5)

    @classmethod
    def embeddings(
        cls, lr: float = 1e-3, steps: int = 100, norm_bound: float | None = 0.01, prepend_bos: bool | None = None
    ) -> "FineTune":
        """The fit of Hase et al.'s "layer -1": the token embeddings of the subjects' tokens, nothing else.

        A model that ties them to its unembedding changes there too on the bridge, where both are one tensor.
        """
        return cls(
            (EMBEDDINGS,),
            ("W_E",),
            lr=lr,
            steps=steps,
            norm_bound=norm_bound,
            reduction="sum",
            patience=5,
            prepend_bos=prepend_bos,
        )

    def edit(
        self,
        model: Model,
        requests: EditRequest | Sequence[EditRequest],
        *,
        moments: Moments = None,  # noqa: ARG002
    ) -> Edit:
        """One edit fitted to all requests together, in minibatches.

        The model is unchanged afterwards: its weights are written during the fit and put back bit for bit, also after
        an exception.

        Args:
            model: in evaluation mode.
            requests: one or several. Two of the same fact are fitted against each other, with a `SameFactWarning`.
            moments: not used; every editor takes them.

        Raises:
            SurfaceError: unsupported model, or one without such layers or parameters.
            FactError, EditError: unusable request, failed fit.
        """
        wanted, surface = as_requests(requests), as_surface(model)
        self._check(surface)
        warn_of_same_fact(wanted, self.name, "fits one against the other")
        with differentiable(surface):
            return self._fitted(surface, wanted, self._rows(surface, wanted))

    def edit_each(
        self,
        model: Model,
        requests: Sequence[EditRequest],
        *,
        moments: Moments = None,  # noqa: ARG002
    ) -> list[Edit]:
        """An independent edit for each request, one fit after the other. Each holds a dense change: mind the memory.
        Raises as `edit`, before the first fit where a request cannot be used.
        """
        wanted, surface = as_requests(requests), as_surface(model)
        self._check(surface)
        with differentiable(surface):
            rows = self._rows(surface, wanted)
            return [self._fitted(surface, [request], [row]) for request, row in zip(wanted, rows, strict=True)]

    def _check(self, surface: AbstractSurface) -> None:
        for layer in self.layers:
            for name in self.parameters:
                try:
                    surface.parameter(layer, name)
                except SurfaceError as error:
                    raise SurfaceError(f"{error} FineTune(parameters=...) names what is fitted.") from error

    def _rows(self, surface: AbstractSurface, requests: Sequence[EditRequest]) -> list[Row]:
        """The bare prompt and target of each request; their noise is the one under which the edit is judged."""
        return [
            target_rows(surface, request, [""], "last", self.prepend_bos, self.objective)[0] for request in requests
        ]

    def _fitted(self, surface: AbstractSurface, requests: Sequence[EditRequest], rows: Sequence[Row]) -> Edit:
        before = target_probs(surface, rows)
        found = fit(surface, rows, self)
        edit = Edit.made_for(surface, found.deltas, {})
        with edit.applied(surface.model):
            after = target_probs(surface, rows)
        share = _share(edit)
        provenance = {
            "editor": self.name,
            "settings": asdict(self),
            "model": surface.model_name,
            "surface": surface.name,
            "prepend_bos": surface.prepends_bos(self.prepend_bos),
            "requests": [asdict(request) for request in requests],
            "diagnostics": [
                {"prob_before": early, "prob_after": late, "relative_norm": share}
                for early, late in zip(before, after, strict=True)
            ],
            "losses": [found.losses],
        }
        return Edit(edit.deltas, edit.bases, provenance)


def window_layers(layer: int, width: int, n_layers: int) -> tuple[int, ...]:
    """The `width` layers around `layer` as Hase et al. count them, from `layer - ⌊width/2⌋` to `layer + ⌈width/2⌉ -
    1`; fewer at the edges of the model.

    >>> window_layers(5, 5, 28), window_layers(0, 5, 28), window_layers(27, 5, 28)
    ((3, 4, 5, 6, 7), (0, 1, 2), (25, 26, 27))

    Raises:
        EditError: no such layer, or a width below 1.
    """
    if not 0 <= layer < n_layers:
        raise EditError(f"layer {layer} does not exist: the model has layers 0 to {n_layers - 1}.")
    if width < 1:
        raise EditError(f"a window has a width of 1 layer at least, got {width}.")
    return tuple(range(max(0, layer - width // 2), min(n_layers, layer + (width + 1) // 2)))


def _share(edit: Edit) -> float:
    """Norm of the whole change relative to that of all weights it changes."""
    changed = math.hypot(*(delta.norm() for delta in edit.deltas.values()))
    whole = math.hypot(*(base.norm for base in edit.bases.values()))
    return changed / whole if whole else math.inf
