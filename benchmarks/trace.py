"""The tracing engine against the straightforward loop, on one model in one run, and against the floor.

    python benchmarks/trace.py            # GPT-2-small shape with random weights, and the atlas
    python benchmarks/trace.py --quick    # a tiny shape, seconds

The loop is what one writes with `run_with_hooks`: one cell a forward, the clean row in every batch, logits of every
position, as the released code does. Its time is measured on some of its forwards and scaled to all. The floor is the
fewest multiply-adds that any exact method needs (core matrix products of blocks and unembedding) over the machine's
measured matrix rate.
"""

import argparse
import warnings

import torch
from _machine import multiply_adds_per_second, random_gpt2, seconds

import lens_rome as lr
from lens_rome.surface import Site, as_surface
from lens_rome.tracing.corruption import CorruptSubject
from lens_rome.tracing.cost import blocks_of_column, multiply_adds_per_token
from lens_rome.tracing.noise import draw_noise
from lens_rome.tracing.window import KINDS, default_window, window_layers

SAMPLES, LEVEL = 10, 0.1


def loop_seconds(model, fact: lr.Fact, kind: str, window: int, forwards: int, repeats: int) -> float:
    """Seconds the plain loop needs for all cells of `fact`, from `forwards` of its forwards."""
    surface = as_surface(model)
    prompt = lr.facts.tokenize_prompt(surface, fact)
    tokens = torch.tensor([prompt.tokens], device=surface.device)
    corrupt = CorruptSubject(
        draw_noise(LEVEL, SAMPLES, prompt.subject_span, surface.d_model, 1), range(*prompt.subject_span)
    )
    batch = tokens.repeat(SAMPLES + 1, 1)

    def noise(activation, hook):
        activation[1:] = corrupt(activation[1:])
        return activation

    def cell(position: int, layer: int) -> None:
        def restore(activation, hook):
            activation[1:, position] = activation[0, position]
            return activation

        first, last = window_layers(layer, window, surface.n_layers)
        sites = [Site(each, KINDS[kind]) for each in range(first, last)]
        hooks = [("hook_embed", noise), *((surface.hook_name(site), restore) for site in sites)]
        model.run_with_hooks(batch, fwd_hooks=hooks).softmax(-1)

    cells = [(position, layer) for position in range(len(prompt)) for layer in range(surface.n_layers)]
    chosen = cells[:: max(1, len(cells) // forwards)][:forwards]
    with torch.no_grad():
        each = seconds(lambda: [cell(*some) for some in chosen], repeats) / len(chosen)
    return each * (len(cells) + 2)


def floor_multiply_adds(model, fact: lr.Fact, kind: str, window: int) -> int:
    """Fewest multiply-adds for the grid: base runs, then each cell (or shared trunk) from its own block and position
    on.

    Counts the dense products of the blocks (attention's own products are small here) and one unembedding a cell and
    sample.
    """
    surface = as_surface(model)
    prompt = lr.facts.tokenize_prompt(surface, fact)
    length, first_subject, layers = len(prompt), prompt.subject_span[0], surface.n_layers
    block, unembed = multiply_adds_per_token(surface)
    windows = {window_layers(layer, window, layers) for layer in range(layers)}
    rows = blocks_of_column(windows, layers, first_is_free=True)
    suffixes = sum(length - position for position in range(first_subject, length))
    blocks = (SAMPLES + 1) * length * layers + SAMPLES * suffixes * rows
    return blocks * block + SAMPLES * len(windows) * (length - first_subject) * unembed


def compare(model, fact: lr.Fact, title: str, forwards: int, repeats: int, window: int | None, rate: float) -> None:
    """Print one line for each kind."""
    surface = as_surface(model)
    for kind in ("resid", "mlp", "attn"):
        width = 1 if kind == "resid" else (window or default_window(kind, surface.n_layers))
        ours = seconds(
            lambda kind=kind, width=width: lr.trace(model, fact, kind, noise=LEVEL, window=width, samples=SAMPLES),
            repeats,
        )
        loop = loop_seconds(model, fact, kind, width, forwards, repeats)
        floor = floor_multiply_adds(model, fact, kind, width) / rate
        print(
            f"{title:28s} {surface.name:6s} {kind:5s} window {width:2d}: loop {loop:7.2f} s, ours {ours:6.2f} s, "
            f"{loop / ours:5.1f} times faster, {floor / ours:4.0%} of the floor's speed"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--forwards", type=int, default=24, help="forwards of the loop that are timed")
    parser.add_argument("--repeats", type=int, default=3, help="timings of each, of which the median counts")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    shape = (4, 64, 4, 2048) if options.quick else (12, 768, 12, 50257)
    forwards = 4 if options.quick else options.forwards
    repeats = 1 if options.quick else options.repeats
    surfaces = ["bridge"] if lr.surface.load.HookedTransformer is None else ["hooked", "bridge"]
    rate = multiply_adds_per_second(480, shape[1], options.device)
    print(f"{torch.get_num_threads()} threads, {options.device}, {rate / 1e9:.1f} G multiply-adds a second")
    # 16 tokens of the atlas's tokenizer, BOS included, of which 1 to 4 are the subject; the weights are random anyway.
    long = lr.Fact("Eiffel Tower", "{} is the one in the city of the city of the", "Paris")
    fact = lr.Fact("Eiffel Tower", "The {} is in the city of", "Paris")
    for surface in surfaces:
        model = random_gpt2(*shape, surface, options.device)
        compare(model, long, "GPT-2 small shape", forwards, repeats, None if options.quick else 10, rate)
    for surface in surfaces:
        model, _ = lr.load_atlas(surface)
        compare(
            model.to(options.device),
            fact,
            "atlas",
            forwards,
            repeats,
            None,
            multiply_adds_per_second(480, model.cfg.d_model),
        )


if __name__ == "__main__":
    main()
