"""All kinds of one trace in one call against the straightforward loop, in one run, and against the floor.

    python benchmarks/trace.py                          # GPT-2 small's shape (random weights), and the atlas
    python benchmarks/trace.py --shapes xl,llama        # GPT-2 XL and Llama 1B, some positions only
    python benchmarks/trace.py --quick                  # a tiny shape, seconds

Lines are hidden states, windows of 10 of MLP and attention outputs, all three in one call, and hidden states with the
MLP path severed. The loop is what one writes with `run_with_hooks`: one cell a forward, the clean row in every batch,
logits of every position, as the released code does; a severed cell takes two forwards there. Its time is measured on
some of its cells and scaled to all. The floor is the fewest multiply-adds that any exact method needs (core matrix
products of blocks and unembedding) over the machine's measured matrix rate.
"""

import argparse
import warnings
from dataclasses import dataclass

import torch
from _machine import multiply_adds_per_second, random_gpt2, random_llama, seconds

import lens_rome as lr
from lens_rome.surface import Site, as_surface
from lens_rome.tracing import CorruptSubject, draw_noise, trace_cost
from lens_rome.tracing.window import KINDS, default_window, window_layers

SAMPLES, LEVEL = 10, 0.1
PAPER = ("resid", "mlp", "attn")
FACT = lr.Fact("Eiffel Tower", "The {} is in the city of", "Paris")
# 16 tokens of the atlas's tokenizer, BOS included, of which 1 to 4 are the subject; the weights are random anyway.
LONG = lr.Fact("Eiffel Tower", "{} is the one in the city of the city of the", "Paris")


@dataclass(frozen=True)
class Job:
    """What one line measures."""

    name: str
    kinds: tuple[str, ...]
    severed: bool = False


JOBS = (
    *(Job(kind, (kind,)) for kind in PAPER),
    Job("all three", PAPER),
    Job("MLP severed", ("resid",), severed=True),
)


class Loop:
    """The plain loop over one prompt."""

    def __init__(self, model, fact: lr.Fact) -> None:
        self.model, self.surface = model, as_surface(model)
        self.prompt = lr.facts.tokenize_prompt(self.surface, fact)
        span = self.prompt.subject_span
        self.corrupt = CorruptSubject(draw_noise(LEVEL, SAMPLES, span, self.surface.d_model, 1), range(*span))
        self.batch = torch.tensor([self.prompt.tokens] * (SAMPLES + 1), device=self.surface.device)

    def noise(self, activation, hook):  # noqa: ARG002 - TransformerLens's signature
        activation[1:] = self.corrupt(activation[1:])
        return activation

    def run(self, hooks) -> None:
        self.model.run_with_hooks(self.batch, fwd_hooks=[("hook_embed", self.noise), *hooks]).softmax(-1)

    def cell(self, kind: str, window: int, position: int, layer: int, severed: bool) -> None:
        def restore(activation, hook):
            activation[1:, position] = activation[0, position]
            return activation

        first, last = window_layers(layer, window, self.surface.n_layers)
        restored = [(self.surface.hook_name(Site(each, KINDS[kind])), restore) for each in range(first, last)]
        if not severed:
            return self.run(restored)
        held: dict[str, torch.Tensor] = {}
        names = [self.surface.hook_name(Site(each, "mlp_out")) for each in range(self.surface.n_layers)]

        def keep(activation, hook):
            held[hook.name] = activation[:, position].clone()

        def hold(activation, hook):
            activation[1:, position] = held[hook.name][1:]
            return activation

        self.run([(name, keep) for name in names])
        return self.run([*restored, *((name, hold) for name in names)])

    def seconds(self, kind: str, window: int, positions, severed: bool, forwards: int, repeats: int) -> float:
        """Seconds for all cells of one kind, from `forwards` of them."""
        cells = [(position, layer) for position in positions for layer in range(self.surface.n_layers)]
        chosen = cells[:: max(1, len(cells) // forwards)][:forwards]
        with torch.no_grad():
            time = seconds(lambda: [self.cell(kind, window, *some, severed) for some in chosen], repeats)
        return time / len(chosen) * (len(cells) + (0 if severed else 2))


def compare(model, fact: lr.Fact, title: str, options, window: int | None = None, some: int | None = None) -> None:
    """Print one line for each job."""
    surface, loop = as_surface(model), Loop(model, fact)
    length, first = len(loop.prompt), loop.prompt.subject_span[0]
    positions = list(range(length)) if some is None else sorted({first, *range(length - 1, first, -(length // some))})
    rate = multiply_adds_per_second(480, surface.d_model, options.device, surface.dtype)
    print(f"{title}, {surface.name}: {rate / 1e9:.1f} G multiply-adds a second, {len(positions)} of {length} positions")
    widths = {kind: 1 if kind == "resid" else window or default_window(kind, surface.n_layers) for kind in PAPER}
    spent: dict[str, float] = {}
    for job in JOBS:
        settings = {"noise": LEVEL, "samples": SAMPLES, "window": widths["mlp"], "positions": positions}
        if job.kinds == ("resid",):
            settings |= {"window": 1, "severed": "mlp" if job.severed else None}
        ours = seconds(
            lambda job=job, settings=settings: lr.trace_kinds(model, fact, job.kinds, **settings), options.repeats
        )
        if len(job.kinds) == 1:
            (kind,) = job.kinds
            spent[job.name] = loop.seconds(
                kind, widths[kind], positions, job.severed, options.forwards, options.repeats
            )
        looped = spent.get(job.name) or sum(spent[kind] for kind in job.kinds)
        floor = trace_cost(model, fact, job.kinds, **settings).multiply_adds / rate
        print(
            f"  {job.name:12s} loop {looped:8.2f} s, ours {ours:7.2f} s, {looped / ours:5.1f} times faster, "
            f"{floor / ours:4.0%} of the floor's speed",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--shapes", default="small,atlas", help="of small, xl, llama, atlas; separated by commas")
    parser.add_argument("--surfaces", default="hooked,bridge")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--positions", type=int, default=3, help="positions traced in the large shapes")
    parser.add_argument("--forwards", type=int, default=24, help="cells of the loop that are timed")
    parser.add_argument("--repeats", type=int, default=3, help="timings of each, of which the median counts")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    if options.quick:
        options.forwards, options.repeats = 4, 1
    dtype, device = getattr(torch, options.dtype), options.device
    print(f"{torch.get_num_threads()} threads, {device}, {dtype}")
    for shape in ["tiny"] if options.quick else options.shapes.split(","):
        for surface in options.surfaces.split(","):
            if surface == "hooked" and lr.surface.load.HookedTransformer is None:
                continue
            match shape:
                case "tiny":
                    compare(random_gpt2(4, 64, 4, 2048, surface, device, dtype), LONG, "tiny", options)
                case "small":
                    model = random_gpt2(12, 768, 12, 50257, surface, device, dtype)
                    compare(model, LONG, "GPT-2 small's shape", options, 10)
                case "xl":
                    model = random_gpt2(48, 1600, 25, 50257, surface, device, dtype)
                    compare(model, LONG, "GPT-2 XL's shape", options, 10, options.positions)
                case "llama":
                    compare(
                        random_llama(surface, device, dtype), LONG, "Llama 1B's shape", options, 5, options.positions
                    )
                case "atlas":
                    model, _ = lr.load_atlas(surface)
                    compare(model.to(device), FACT, "the atlas", options)
                case _:
                    parser.error(f"unknown shape {shape!r}")


if __name__ == "__main__":
    main()
