"""The records whose effect is concentrated in few layers."""

import numpy as np
import pandas as pd

from lens_rome.studies.localization.errors import StudyError
from lens_rome.studies.localization.frames import effects_of
from lens_rome.tracing.layer_effects import is_concentrated


def concentrated_ids(effects: pd.DataFrame, *, window: int, share: float = 0.5, at_most: int = 3) -> list[str]:
    """Ids of the records whose tracing effect is concentrated in few layers, in the order of the table.

    At most `at_most` layers besides the largest have an effect of `share` times the largest or more. A record without
    any positive effect, or with one that is not defined, is not concentrated. The paper finds 74 of 652 for GPT-J with
    window 5 (Hase et al., https://arxiv.org/abs/2301.04213). `lens_rome.tracing.concentrated` tells the same
    of traces.

    Raises:
        StudyError: columns or a window that are not there, or a record that lacks a layer which others have.
        TraceError: `share` is not above 0 and up to 1, or `at_most` is negative.
    """
    rows = effects_of(effects, "tracing", window, ("effect",))
    n_layers = len(set(rows["layer"]))
    found = []
    for name, of_record in rows.groupby("id", sort=False):
        if len(of_record) < n_layers:
            raise StudyError(
                f"record {name!r} has effects of {len(of_record)} of {n_layers} layers. Trace all layers of each "
                "record to tell whether its effect is concentrated."
            )
        if is_concentrated(np.asarray(of_record["effect"], float), share, at_most):
            found.append(str(name))
    return found
