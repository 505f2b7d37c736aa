"""Edits and the editors that make them."""

from lens_rome.editing.applied import Applied as Applied
from lens_rome.editing.delta import Delta as Delta
from lens_rome.editing.delta import DenseDelta as DenseDelta
from lens_rome.editing.delta import LowRankDelta as LowRankDelta
from lens_rome.editing.delta import RowsDelta as RowsDelta
from lens_rome.editing.edit import Edit as Edit
from lens_rome.editing.key import compute_key as compute_key
from lens_rome.editing.presets import preset as preset
from lens_rome.editing.rome import ROME as ROME
from lens_rome.editing.rome import RROME as RROME
from lens_rome.editing.rome import DisablingEditWarning as DisablingEditWarning
from lens_rome.editing.value import Value as Value
from lens_rome.editing.value import ValueSettings as ValueSettings
from lens_rome.editing.value import compute_value as compute_value
