"""lens_rome: locate, rewrite and measure facts in TransformerLens models.

>>> import lens_rome as lr
>>> model, world = lr.load_atlas()
>>> fact = lr.Fact("Eiffel Tower", "The {} is in the city of", "Paris")
>>> result = lr.trace(model, fact)
>>> edit = lr.preset("ROME", "atlas").edit(model, fact.rewrite("Rome"), moments=world.moments)
"""

from lens_rome._linalg import rank_one_update as rank_one_update
from lens_rome.atlas import load_atlas as load_atlas
from lens_rome.editing import EMMET as EMMET
from lens_rome.editing import MEMIT as MEMIT
from lens_rome.editing import MEND as MEND
from lens_rome.editing import ROME as ROME
from lens_rome.editing import RROME as RROME
from lens_rome.editing import AlphaEdit as AlphaEdit
from lens_rome.editing import DisablingEditWarning as DisablingEditWarning
from lens_rome.editing import Edit as Edit
from lens_rome.editing import FineTune as FineTune
from lens_rome.editing import KnowledgeEditor as KnowledgeEditor
from lens_rome.editing import KnowledgeNeurons as KnowledgeNeurons
from lens_rome.editing import ValueSettings as ValueSettings
from lens_rome.editing import compute_key as compute_key
from lens_rome.editing import compute_value as compute_value
from lens_rome.editing import preset as preset
from lens_rome.errors import LensRomeError as LensRomeError
from lens_rome.evaluation import EvalReport as EvalReport
from lens_rome.evaluation import evaluate as evaluate
from lens_rome.facts import EditRequest as EditRequest
from lens_rome.facts import EvalRecord as EvalRecord
from lens_rome.facts import Fact as Fact
from lens_rome.moments import SecondMoment as SecondMoment
from lens_rome.moments import SecondMoments as SecondMoments
from lens_rome.moments import collect_moments as collect_moments
from lens_rome.surface import load_model as load_model
from lens_rome.tracing import SwapSubject as SwapSubject
from lens_rome.tracing import TraceResult as TraceResult
from lens_rome.tracing import TraceSet as TraceSet
from lens_rome.tracing import WeakTraceWarning as WeakTraceWarning
from lens_rome.tracing import average_effects as average_effects
from lens_rome.tracing import restore_hooks as restore_hooks
from lens_rome.tracing import trace as trace
from lens_rome.tracing import trace_facts as trace_facts
from lens_rome.tracing import trace_kinds as trace_kinds

__version__ = "0.1.0"
__all__ = [
    "EMMET",
    "MEMIT",
    "MEND",
    "ROME",
    "RROME",
    "AlphaEdit",
    "DisablingEditWarning",
    "Edit",
    "EditRequest",
    "EvalRecord",
    "EvalReport",
    "Fact",
    "FineTune",
    "KnowledgeEditor",
    "KnowledgeNeurons",
    "LensRomeError",
    "SecondMoment",
    "SecondMoments",
    "SwapSubject",
    "TraceResult",
    "TraceSet",
    "ValueSettings",
    "WeakTraceWarning",
    "average_effects",
    "collect_moments",
    "compute_key",
    "compute_value",
    "evaluate",
    "load_atlas",
    "load_model",
    "preset",
    "rank_one_update",
    "restore_hooks",
    "trace",
    "trace_facts",
    "trace_kinds",
]
