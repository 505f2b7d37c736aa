"""One ROME edit against the straightforward way, on one model in one run, and against the floor.

    python benchmarks/edit.py            # GPT-2-small shape with random weights, and the atlas
    python benchmarks/edit.py --quick

The straightforward way runs the whole model in each step of the search for v*, all positions and layers, as the
released code does; both do the same number of steps. The floor counts the dense products above the edited layer, from
the lookup on, forward and backward.
"""

import argparse
import warnings

import torch
from _machine import multiply_adds_per_second, random_gpt2, seconds

import lens_rome as lr
from lens_rome.editing.rows import prompt_rows, stack, target_rows
from lens_rome.editing.search import Search, find_values
from lens_rome.surface import Site, as_surface, frozen_parameters

STEPS = 5
SETTINGS = lr.ValueSettings(steps=STEPS, stop_loss=0.0)


def straightforward(model, request: lr.EditRequest, layer: int, contexts: tuple[str, ...]) -> None:
    """The search for v* with a full forward and logits of all positions in each step, the divergence prompt a row
    of the same batch.
    """
    surface = as_surface(model)
    essence = lr.EditRequest(request.subject, "{} is a", request.target_new)
    rows = target_rows(surface, request, contexts, "subject_last", None)
    batch = stack(surface, [*rows, *prompt_rows(surface, essence, [""], "subject_last", None)])
    targets = torch.tensor([row.target for row in rows])
    delta = torch.zeros(surface.d_model, requires_grad=True)
    optimizer = torch.optim.Adam([delta], lr=SETTINGS.lr)
    index, reference = torch.arange(len(batch.tokens)), None

    def add(activation, hook):
        changed = activation.clone()
        changed[index, batch.lookup] += delta
        return changed

    name = surface.hook_name(Site(layer, "value"))
    at = batch.ends[:-1, None] + torch.arange(targets.shape[1])
    with frozen_parameters(model):
        for step in range(STEPS):
            logprobs = model.run_with_hooks(batch.tokens, fwd_hooks=[(name, add)]).log_softmax(-1)
            essence_now = logprobs[-1, batch.lookup[-1]]
            reference = essence_now.detach() if reference is None else reference
            divergence = (essence_now.exp() * (essence_now - reference)).sum()
            loss = -logprobs[index[:-1, None], at, targets].mean() + SETTINGS.kl_factor * divergence
            if step < STEPS - 1:
                (delta.grad,) = torch.autograd.grad(loss, [delta])
                optimizer.step()


def compare(model, request: lr.EditRequest, layer: int, title: str, repeats: int) -> None:
    surface = as_surface(model)
    contexts = lr.facts.sample_contexts(surface)
    search = Search(Site(layer, "value"), contexts, SETTINGS)
    ours = seconds(lambda: find_values(surface, [request], search), repeats)
    plain = seconds(lambda: straightforward(model, request, layer, contexts), repeats)
    rows = target_rows(surface, request, contexts, "subject_last", None)
    block = 4 * surface.d_model**2 + 2 * surface.d_model * surface.d_mlp
    read = (sum(len(row.target) for row in rows) + 1) * surface.d_model * int(surface.cfg.d_vocab)
    after = sum(len(row.tokens) - row.lookup for row in rows) + 1
    floor = sum(len(row.tokens) for row in rows) * surface.n_layers * block
    # Forward, and as much again backward: no weight has a gradient.
    floor += (2 * STEPS - 1) * (after * (surface.n_layers - layer - 1) * block + read)
    rate = multiply_adds_per_second(after, surface.d_model)
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
