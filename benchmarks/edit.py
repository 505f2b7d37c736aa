"""One ROME edit against the straightforward way, on one model in one run, and against the floor.

    python benchmarks/edit.py            # GPT-2-small shape with random weights, and the atlas
    python benchmarks/edit.py --quick

The straightforward way runs the whole model in each step of the search for v*, all positions and layers, as the
released code does; both do the same number of steps. The floor counts the dense products above the edited layer, from
the first lookup on, forward and twice that backward.
"""

import argparse
import warnings

import torch
from _machine import multiply_adds_per_second, random_gpt2, seconds

import lens_rome as lr
from lens_rome.editing.rows import target_rows
from lens_rome.editing.value import find_value
from lens_rome.surface import Site, as_surface, frozen_parameters

STEPS = 5
SETTINGS = lr.ValueSettings(steps=STEPS, stop_loss=0.0)


def straightforward(model, request: lr.EditRequest, layer: int, contexts: tuple[str, ...]) -> None:
    """The search for v* with a full forward and logits of all positions in each step."""
    surface = as_surface(model)
    rows, targets = target_rows(surface, request, contexts, "subject_last", None)
    delta = torch.zeros(surface.d_model, requires_grad=True)
    optimizer = torch.optim.Adam([delta], lr=0.5)
    index = torch.arange(len(targets))

    def add(activation, hook):
        changed = activation.clone()
        changed[index, rows.lookup] += delta
        return changed

    name = surface.hook_name(Site(layer, "value"))
    with frozen_parameters(model):
        for _ in range(STEPS):
            logprobs = model.run_with_hooks(rows.tokens, fwd_hooks=[(name, add)]).log_softmax(-1)
            at = rows.ends[:, None] + torch.arange(targets.shape[1])
            loss = -logprobs[index[:, None], at, targets].mean()
            (delta.grad,) = torch.autograd.grad(loss, [delta])
            optimizer.step()


def compare(model, request: lr.EditRequest, layer: int, title: str, repeats: int) -> None:
    surface = as_surface(model)
    contexts = lr.facts.sample_contexts(surface)
    ours = seconds(lambda: find_value(surface, request, layer, contexts, SETTINGS, "subject_last", None), repeats)
    plain = seconds(lambda: straightforward(model, request, layer, contexts), repeats)
    rows, targets = target_rows(surface, request, contexts, "subject_last", None)
    positions = rows.tokens.shape[1] - int(rows.lookup.min())
    block = 4 * surface.d_model**2 + 2 * surface.d_model * surface.d_mlp
    read = targets.numel() * surface.d_model * int(surface.cfg.d_vocab)
    steps = 3 * STEPS - 2
    once = (len(contexts) + 1) * rows.tokens.shape[1] * surface.n_layers * block
    floor = once + steps * ((len(contexts) + 1) * positions * (surface.n_layers - layer - 1) * block + read)
    rate = multiply_adds_per_second(positions * (len(contexts) + 1), surface.d_model)
    print(
        f"{title:20s} {surface.name:6s} layer {layer:2d}, {STEPS} steps: straightforward {plain:6.2f} s, ours "
        f"{ours:6.2f} s, "
        f"{plain / ours:4.1f} times faster, {floor / rate / ours:4.0%} of the floor's speed"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--repeats", type=int, default=3, help="timings of each, of which the median counts")
    options = parser.parse_args()
    repeats = 1 if options.quick else options.repeats
    warnings.simplefilter("ignore")
    shape = (4, 64, 4, 2048) if options.quick else (12, 768, 12, 50257)
    surfaces = ["bridge"] if lr.surface.load.HookedTransformer is None else ["hooked", "bridge"]
    request = lr.EditRequest("Eiffel Tower", "The {} is in the city of", "Rome", "Paris")
    for surface in surfaces:
        compare(random_gpt2(*shape, surface), request, shape[0] // 3, "GPT-2 small shape", repeats)
    for surface in surfaces:
        model, _ = lr.load_atlas(surface)
        compare(model, request, lr.preset("ROME", "atlas").layer, "atlas", repeats)


if __name__ == "__main__":
    main()
