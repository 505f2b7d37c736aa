"""Refuse a moment that was collected for something else."""

from lens_rome._warnings import warn_caller
from lens_rome.errors import MomentError
from lens_rome.moments.by_layer import SecondMoments
from lens_rome.moments.moment import SecondMoment
from lens_rome.moments.probe import probe_keys, same_keys
from lens_rome.surface import AbstractSurface


def moment_for(
    surface: AbstractSurface, layer: int, moments: "SecondMoments | SecondMoment | str | None", prepend_bos: bool
) -> SecondMoment:
    """The moment to use for an edit of `layer`.

    Raises:
        MomentError: none given, or of another layer, width, BOS setting or model.
    """
    d_mlp = int(surface.weight(layer).shape[0])
    if moments is None:
        raise MomentError(
            f"this editor needs the second moment of layer {layer}. Collect it with collect_moments(model, "
            f"{layer}, texts) and pass "
            "moments=..., or pass moments='identity' to edit without (see docs/fidelity.md)."
        )
    if isinstance(moments, str):
        if moments != "identity":
            raise MomentError(f"moments={moments!r} is not understood; pass SecondMoments, or 'identity'.")
        return SecondMoment.identity(layer, d_mlp)
    if isinstance(moments, SecondMoment):
        moments = SecondMoments([moments])
    if layer not in moments:
        raise MomentError(
            f"the moments hold layers {sorted(moments)}, the edit is at layer {layer}. Collect that layer."
        )
    moment = moments[layer]
    if moment.d_mlp != d_mlp:
        raise MomentError(
            f"the moment of layer {layer} is {moment.d_mlp} wide, the model's W_out takes {d_mlp}; it is of "
            "another model."
        )
    if moment.origin.prepend_bos is not None and moment.origin.prepend_bos != prepend_bos:
        raise MomentError(
            f"the moment was collected with prepend_bos={moment.origin.prepend_bos}, the edit uses {prepend_bos}. "
            "Collect it again or set "
            "the editor's prepend_bos."
        )
    _check_probe(surface, moment)
    return moment


def _check_probe(surface: AbstractSurface, moment: SecondMoment) -> None:
    if moment.probe is None:
        warn_caller(
            f"the moment of layer {moment.layer} ({moment.origin.corpus}) does not say which model it is of; only "
            "its shape was checked."
        )
        return
    keys = probe_keys(surface, [moment.layer], moment.origin.prepend_bos)[moment.layer]
    if same_keys(keys, moment.probe):
        return
    raise MomentError(
        f"the moment of layer {moment.layer} was collected from {moment.origin.model!r}, not from this model: "
        "their keys of the probe text differ. Collect it again."
    )
