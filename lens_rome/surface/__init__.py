"""The only layer that touches a TransformerLens model: sites, weights, tokens, runs and resumed runs."""

from lens_rome.surface._abstract import AbstractSurface as AbstractSurface
from lens_rome.surface.base_run import BaseRun as BaseRun
from lens_rome.surface.batch import pad_right as pad_right
from lens_rome.surface.checkpoint import folder_written_whole as folder_written_whole
from lens_rome.surface.checkpoint import why_processed as why_processed
from lens_rome.surface.checkpoint import write_checkpoint as write_checkpoint
from lens_rome.surface.encoding import Encoding as Encoding
from lens_rome.surface.factored import factored_matrix as factored_matrix
from lens_rome.surface.hooks import Reader as Reader
from lens_rome.surface.hooks import attached as attached
from lens_rome.surface.hooks import frozen_parameters as frozen_parameters
from lens_rome.surface.hooks import is_position_free as is_position_free
from lens_rome.surface.hooks import owner_hooks as owner_hooks
from lens_rome.surface.hooks import position_free as position_free
from lens_rome.surface.hooks import silenced as silenced
from lens_rome.surface.load import load_model as load_model
from lens_rome.surface.matrices import HOOKED_BIASES as HOOKED_BIASES
from lens_rome.surface.matrices import HOOKED_MATRICES as HOOKED_MATRICES
from lens_rome.surface.matrices import MatrixHooks as MatrixHooks
from lens_rome.surface.parameters import OUTSIDE as OUTSIDE
from lens_rome.surface.select import as_surface as as_surface
from lens_rome.surface.select import check_finite as check_finite
from lens_rome.surface.select import check_layer as check_layer
from lens_rome.surface.select import check_logits as check_logits
from lens_rome.surface.site import Site as Site
