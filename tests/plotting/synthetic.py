"""Results made up for pictures: numbers whose place in the picture is known."""

import numpy as np
import pandas as pd
import torch

from lens_rome.tracing import TraceResult, TraceSettings

EIFFEL = ("<|endoftext|>", "The", " E", "iff", "el", " Tower", " is", " in", " the", " city", " of")
EIFFEL_SUBJECT = (2, 6)


def made_up_trace(
    kind: str = "resid",
    n_layers: int = 8,
    tokens: tuple[str, ...] = EIFFEL,
    span: tuple[int, int] = EIFFEL_SUBJECT,
    *,
    window: int | None = None,
    samples: int = 10,
    answer: str = " Paris",
    target: str = "Paris",
    noise: str = "3σ",
    clean: float = 0.96,
    corrupted: float = 0.04,
) -> TraceResult:
    """A trace with an early site at the last subject token and a late site at the last token, as in the paper."""
    n_tokens = len(tokens)
    layer = torch.arange(n_layers, dtype=torch.float64) / n_layers
    scores = torch.full((n_layers, n_tokens), corrupted, dtype=torch.float64)
    early = torch.exp(-(((layer - 0.3) / 0.2) ** 2))
    late = torch.sigmoid((layer - 0.6) * 20)
    if kind != "attn":
        scores[:, span[1] - 1] += (clean - corrupted) * 0.6 * early
    if kind != "mlp":
        scores[:, -1] += (clean - corrupted) * late
    jitter = torch.linspace(-0.01, 0.01, samples, dtype=torch.float64)
    settings = TraceSettings(
        kind,
        window if window is not None else (1 if kind == "resid" else 3),
        noise,
        0.187,
        samples,
        1,
        True,
        "synthetic",
        "hooked",
        False,
        "torch.float64",
    )
    return TraceResult(
        scores[..., None] + jitter,
        corrupted + jitter,
        clean,
        "".join(tokens[1:]),
        "".join(tokens[slice(*span)]).strip(),
        tuple(range(n_tokens)),
        tokens,
        span,
        answer,
        (7,),
        target,
        settings,
    )


def three_traces(n_layers: int = 8) -> dict[str, TraceResult]:
    """One trace of each kind."""
    return {kind: made_up_trace(kind, n_layers) for kind in ("resid", "mlp", "attn")}


def made_up_edit() -> pd.DataFrame:
    """An edit that works: rewrite and paraphrases change, neighbours stay but for one."""
    rows = [
        ("rewrite", "The Eiffel Tower is in the city of", 0.97, 0.001, 0.01, 0.98),
        ("paraphrase", "Where is the Eiffel Tower? It stands in", 0.91, 0.002, 0.04, 0.92),
        ("paraphrase", "A visitor to the Eiffel Tower will find himself in the middle of", 0.74, 0.01, 0.31, 0.45),
        ("neighbourhood", "The Louvre is in the city of", 0.98, 0.0, 0.97, 0.01),
        ("neighbourhood", "Notre-Dame de Paris is in the city of", 0.93, 0.0, 0.93, 0.0),
        ("neighbourhood", "The Arc de Triomphe is in the city of", 0.95, 0.0, 0.41, 0.52),
    ]
    names = ["group", "prompt", "p_true_before", "p_new_before", "p_true_after", "p_new_after"]
    return pd.DataFrame(rows, columns=names)


def made_up_effects(n_layers: int = 8) -> pd.DataFrame:
    """Average effects of three kinds and four roles."""
    layers = np.arange(n_layers) / n_layers
    shapes = {
        "subject_first": 0.03 * np.exp(-layers * 8),
        "subject_last": 0.4 * np.exp(-(((layers - 0.3) / 0.2) ** 2)),
        "after_subject": 0.05 * layers,
        "last": 0.5 / (1 + np.exp(-20 * (layers - 0.6))),
    }
    scale = {"resid": 1.0, "mlp": 0.6, "attn": 0.4}
    return pd.DataFrame(
        [
            {
                "kind": kind,
                "layer": layer,
                "role": role,
                "effect": factor * effect,
                "low": factor * effect - 0.02,
                "high": factor * effect + 0.02,
                "window": 1 if kind == "resid" else 3,
            }
            for kind, factor in scale.items()
            for role, effects in shapes.items()
            for layer, effect in enumerate(effects)
        ]
    )
