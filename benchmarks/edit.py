"""One ROME edit against the straightforward way, on one model in one run, and against the floor.

    python benchmarks/edit.py            # GPT-2 small's and medium's shapes with random weights, and the atlas
    python benchmarks/edit.py --quick

The straightforward way runs the whole model in each step of the search for v*, all positions and layers, as the
released code does; both do the same number of steps. The floor counts the dense products above the edited layer, from
the lookup on, forward and backward. Last come many requests in one call against one call each.
"""

import argparse
import random
import warnings
from dataclasses import replace

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


def together(model, world, name: str, n: int, title: str) -> None:
    """`n` requests in one call against one call each; contexts and the moment's factor are shared by both."""
    surface, moments = as_surface(model), world.moments
    editor = replace(lr.preset(name, "atlas"), contexts=("", "In short. ", "He said so to all of them. "))
    requests = [record.request for record in random.Random(0).sample(world.records, n)]
    few = requests[: max(1, n // 8)]
    editor.edit(model, requests[0], moments=moments)  # factors the moments
    each = seconds(lambda: [editor.edit(model, request, moments=moments) for request in few], 1) / len(few)
    call = editor.edit_each if name == "ROME" else editor.edit
    joint = seconds(lambda: call(model, requests, moments=moments), 1) / n
    print(
        f"{title:20s} {surface.name:6s} {name}, {n} requests: {each:5.2f} s an edit one by one, {joint:5.2f} s in one "
        f"call, {each / joint:4.1f} times faster",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--repeats", type=int, default=3, help="timings of each, of which the median counts")
    options = parser.parse_args()
    repeats = 1 if options.quick else options.repeats
    warnings.simplefilter("ignore")
    shapes = {"small": (12, 768, 12, 50257), "medium": (24, 1024, 16, 50257)}
    if options.quick:
        shapes = {"tiny": (4, 64, 4, 2048)}
    surfaces = ["bridge"] if lr.surface.load.HookedTransformer is None else ["hooked", "bridge"]
    request = lr.EditRequest("Eiffel Tower", "The {} is in the city of", "Rome", "Paris")
    for name, shape in shapes.items():
        for surface in surfaces:
            layer = lr.preset("ROME", "gpt2-medium").layer if name == "medium" else shape[0] // 3
            compare(random_gpt2(*shape, surface), request, layer, f"GPT-2 {name}'s shape", repeats)
    for surface in surfaces[:1] if options.quick else surfaces:
        model, world = lr.load_atlas(surface)
        compare(model, request, lr.preset("ROME", "atlas").layer, "atlas", repeats)
        together(model, world, "ROME", 2 if options.quick else 64, "atlas")
        together(model, world, "MEMIT", 2 if options.quick else 200, "atlas")


if __name__ == "__main__":
    main()
