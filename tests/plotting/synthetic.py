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


def six_roles(n_layers: int = 8) -> pd.DataFrame:
    """Average effects of three kinds and the six roles of the paper, with counts."""
    frame = made_up_effects(n_layers)
    middle = frame[frame["role"] == "subject_first"].assign(role="subject_middle")
    further = frame[frame["role"] == "after_subject"].assign(role="further")
    counts = {"subject_first": 120, "subject_middle": 95, "subject_last": 120, "after_subject": 118, "further": 301}
    whole = pd.concat([frame, middle, further], ignore_index=True)
    return whole.assign(n=[counts.get(role, 120) for role in whole["role"]])


def made_up_severed(n_layers: int = 8) -> pd.DataFrame:
    """An effect that runs through the MLPs: severing them takes most of it in early layers."""
    left = {"ordinary": 1.0, "attn severed": 0.8, "mlp severed": 0.3}
    return pd.DataFrame(
        [
            {"layer": layer, "condition": name, "effect": effect, "low": effect - 0.01, "high": effect + 0.02}
            for name, share in left.items()
            for layer in range(n_layers)
            for effect in [share * 0.3 * float(np.exp(-(((layer / n_layers - 0.3) / 0.3) ** 2)))]
        ]
    )


def made_up_peaks(n_layers: int = 8) -> pd.DataFrame:
    """Layers of the largest effect: one layer has no row."""
    layers = [layer for layer in range(n_layers) if layer != 1]
    return pd.DataFrame({"layer": layers, "count": [(7 * layer) % 12 for layer in layers]})


def made_up_heads(n_layers: int = 8, n_heads: int = 4) -> pd.DataFrame:
    """Effects of heads: each differs, and layer 2 head 1 has the largest, which is negative."""
    rows = [
        {"layer": layer, "head": head, "effect": 0.001 * (layer * n_heads + head) * (-1) ** head / (n_layers * n_heads)}
        for layer in range(n_layers)
        for head in range(n_heads)
    ]
    rows[2 * n_heads + 1]["effect"] = -0.25
    return pd.DataFrame(rows)


SEGMENTS = {"beginning": 1, "subject": 4, "relation": 5, "costs $5 or $6\n": 2, "last token": 1}


def made_up_segments(n_layers: int = 8) -> pd.DataFrame:
    """Effects of five segments, in the order of a prompt."""
    return pd.DataFrame(
        [
            {"segment": name, "layer": layer, "effect": (row + 1) * 0.01 + layer * 0.001, "n_tokens": n_tokens}
            for row, (name, n_tokens) in enumerate(SEGMENTS.items())
            for layer in range(n_layers)
        ]
    )


def made_up_sequence(labels: list[str], edits: int = 500) -> pd.DataFrame:
    """Runs of edits, each of which forgets faster and breaks more than the one before."""
    at = np.linspace(0, edits, 11).astype(int)
    return pd.concat(
        [
            pd.DataFrame(
                {
                    "label": label,
                    "edits": at,
                    "retention": np.where(at > 0, np.exp(-at / edits * rank), np.nan),
                    "norm": np.sqrt(at) * 10.0**rank,
                    "perplexity": 5 * np.exp(at / edits * 3 * rank),
                }
            )
            for rank, label in enumerate(labels)
        ],
        ignore_index=True,
    )
