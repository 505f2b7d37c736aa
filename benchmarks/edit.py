"""One ROME edit against the straightforward way, on one model in one run, and against the floor.

    python benchmarks/edit.py            # GPT-2 small's and medium's shapes with random weights, and the atlas
    python benchmarks/edit.py --shapes xl --device cuda
    python benchmarks/edit.py --quick

The straightforward way runs the whole model in each step of the search for v*, all positions and layers, as the
released code does; both take all 20 steps, with contexts that the atlas says. The floor counts the dense products
above the edited layer, from the lookup on, forward and backward. Last come many requests in one call against one call
for each of a quarter of them.
"""

import argparse
import random
import time
import warnings
from collections.abc import Callable
from dataclasses import replace

import torch
from _machine import multiply_adds_per_second, random_gpt2, seconds

import lens_rome as lr
from lens_rome.atlas.bundled import load_atlas_model
from lens_rome.atlas.world import World
from lens_rome.editing.rows import prompt_rows, stack, target_rows
from lens_rome.editing.search import Search, find_values
from lens_rome.facts import sample_contexts
from lens_rome.surface import Site, as_surface, frozen_parameters
from lens_rome.surface.load import HookedTransformer

SHAPES = {
    "tiny": (4, 64, 4, 2048),
    "small": (12, 768, 12, 50257),
    "medium": (24, 1024, 16, 50257),
    "xl": (48, 1600, 25, 50257),
}
REQUEST = lr.EditRequest("Eiffel Tower", "The {} is in the city of", "Rome", "Paris")


def straightforward(model, layer: int, contexts: tuple[str, ...], settings: lr.ValueSettings) -> None:
    """The search for v* with a full forward and logits of all positions in each step, the divergence prompt a row
    of the same batch.
    """
    surface = as_surface(model)
    essence = lr.EditRequest(REQUEST.subject, "{} is a", REQUEST.target_new)
    rows = target_rows(surface, REQUEST, contexts, "subject_last", None)
    batch = stack(surface, [*rows, *prompt_rows(surface, essence, [""], "subject_last", None)])
    tokens, lookup = batch.tokens.to(surface.device), batch.lookup.to(surface.device)
    targets = torch.tensor([row.target for row in rows]).to(tokens)
    delta = torch.zeros(surface.d_model, device=tokens.device, requires_grad=True)
    optimizer = torch.optim.Adam([delta], lr=settings.lr)
    index, reference = torch.arange(len(tokens), device=tokens.device), None

    def add(activation, hook):
        changed = activation.clone()
        changed[index, lookup] += delta
        return changed

    name = surface.hook_name(Site(layer, "value"))
    at = (batch.ends[:-1, None] + torch.arange(targets.shape[1])).to(tokens)
    with frozen_parameters(model):
        for step in range(settings.steps):
            logprobs = model.run_with_hooks(tokens, fwd_hooks=[(name, add)]).log_softmax(-1)
            essence_now = logprobs[-1, lookup[-1]]
            reference = essence_now.detach() if reference is None else reference
            divergence = (essence_now.exp() * (essence_now - reference)).sum()
            loss = -logprobs[index[:-1, None], at, targets].mean() + settings.kl_factor * divergence
            if step < settings.steps - 1:
                (delta.grad,) = torch.autograd.grad(loss, [delta])
                optimizer.step()


def compare(model, layer: int, contexts: tuple[str, ...], title: str, settings: lr.ValueSettings, repeats: int) -> None:
    surface, steps = as_surface(model), settings.steps

    def fast(settings: lr.ValueSettings = settings) -> None:
        find_values(surface, [REQUEST], Search(Site(layer, "value"), contexts, settings))

    def slow(settings: lr.ValueSettings = settings) -> None:
        straightforward(model, layer, contexts, settings)

    rows = target_rows(surface, REQUEST, contexts, "subject_last", None)
    after = sum(len(row.tokens) - row.lookup for row in rows) + 1
    device, short = str(surface.device), replace(settings, steps=2)
    rate = multiply_adds_per_second(after, surface.d_model, device)
    ours, plain = seconds(fast, repeats, lambda: fast(short)), seconds(slow, repeats, lambda: slow(short))
    block = 4 * surface.d_model**2 + 2 * surface.d_model * surface.d_mlp
    read = (sum(len(row.target) for row in rows) + 1) * surface.d_model * int(surface.cfg.d_vocab)
    floor = sum(len(row.tokens) for row in rows) * surface.n_layers * block
    # Forward, and as much again backward: no weight has a gradient.
    floor += (2 * steps - 1) * (after * (surface.n_layers - layer - 1) * block + read)
    rate = max(rate, multiply_adds_per_second(after, surface.d_model, device))  # machines shared by many vary
    print(
        f"{title:20s} {surface.name:6s} layer {layer:2d}, {steps} steps: straightforward {plain:6.2f} s, ours "
        f"{ours:6.2f} s, {plain / ours:4.1f} times faster, {floor / rate / ours:4.0%} of the floor's speed",
        flush=True,
    )


def together(model, world, name: str, n: int, title: str) -> None:
    """`n` requests in one call against one call each; contexts and the moment's factor are shared by both."""
    surface, moments = as_surface(model), world.moments
    editor = replace(lr.preset(name, "atlas"), contexts=("", "In short. ", "He said so to all of them. "))
    requests = [record.request for record in random.Random(0).sample(world.records, n)]
    few = requests[::4]
    editor.edit(model, requests[0], moments=moments)  # factors the moments
    begin = time.perf_counter()
    for request in few:
        editor.edit(model, request, moments=moments)
    between = time.perf_counter()
    (editor.edit_each if name == "ROME" else editor.edit)(model, requests, moments=moments)
    each, joint = (between - begin) / len(few), (time.perf_counter() - between) / n
    print(
        f"{title:20s} {surface.name:6s} {name}, {n} requests: {each:5.2f} s an edit one by one, {joint:5.2f} s in one "
        f"call, {each / joint:4.1f} times faster",
        flush=True,
    )


def main() -> None:
    options = asked()
    settings = lr.ValueSettings(steps=3 if options.quick else 20, stop_loss=0.0)
    warnings.simplefilter("ignore")
    device, world = options.device, World()
    contexts = sample_contexts(as_surface(load_atlas_model(options.surfaces[0], device=device)))
    for name in (each for each in options.shapes if each != "atlas"):
        shape = SHAPES[name]
        layer = lr.preset("ROME", f"gpt2-{name}").layer if name in ("medium", "xl") else shape[0] // 3
        for surface in options.surfaces:
            model = random_gpt2(*shape, surface, device)
            compare(model, layer, contexts, f"GPT-2 {name}'s shape", settings, options.repeats)
    there = options.surfaces[:1] if options.quick else options.surfaces
    for surface in there if "atlas" in options.shapes else []:
        model = load_atlas_model(surface, device=device)
        compare(model, lr.preset("ROME", "atlas").layer, contexts, "atlas", settings, options.repeats)
        together(model, world, "ROME", 2 if options.quick else 64, "atlas")
        together(model, world, "MEMIT", 2 if options.quick else 200, "atlas")


def asked() -> argparse.Namespace:
    """The options. Quick means less of everything, and other defaults; shapes and repeats that are given hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    there = ["bridge"] if HookedTransformer is None else ["hooked", "bridge"]
    shapes = listed(*SHAPES, "atlas")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="3 steps, 2 requests, the atlas on the first surface; --shapes tiny,atlas --repeats 1 unless given",
    )
    parser.add_argument("--repeats", type=int, help="timings of each, of which the median counts; 3 by default")
    parser.add_argument(
        "--shapes", type=shapes, help=f"of {', '.join([*SHAPES, 'atlas'])}; small,medium,atlas by default"
    )
    parser.add_argument("--device", default="cpu", help="of all models, the atlas as well")
    parser.add_argument("--surfaces", type=listed(*there), help=f"of {', '.join(there)}; all by default")
    options = parser.parse_args()
    options.repeats = options.repeats or (1 if options.quick else 3)
    options.shapes = options.shapes or (["tiny", "atlas"] if options.quick else ["small", "medium", "atlas"])
    options.surfaces = options.surfaces or there
    return options


def listed(*known: str) -> Callable[[str], list[str]]:
    """What argparse makes of names by commas."""

    def read(text: str) -> list[str]:
        names = text.split(",")
        unknown = [name for name in names if name not in known]
        if unknown:
            raise argparse.ArgumentTypeError(f"unknown {', '.join(map(repr, unknown))}; choose of {', '.join(known)}")
        return names

    return read


if __name__ == "__main__":
    main()
