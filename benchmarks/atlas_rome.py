"""ROME and R-ROME on the atlas's own records: ES, PS, NS as the papers score them, layer by layer if asked.

    python benchmarks/atlas_rome.py --records 150                 # the preset's layer
    python benchmarks/atlas_rome.py --records 40 --layers 0-7     # which layer is best

Records are a seeded sample; each edit is made for and scored on the unedited model.
"""

import argparse
import random
import warnings
from dataclasses import replace

import lens_rome as lr
from lens_rome.evaluation import table


def layer_range(text: str) -> list[int]:
    first, _, last = text.partition("-")
    return list(range(int(first), int(last or first) + 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=150)
    parser.add_argument("--layers", type=layer_range, help="one layer or a range, e.g. 0-7; default: the preset's")
    parser.add_argument("--editors", default="ROME,R-ROME")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    warnings.simplefilter("ignore", lr.editing.DisablingEditWarning)
    model, world = lr.load_atlas()
    records = random.Random(options.seed).sample(world.records, 2 if options.quick else options.records)
    reports = [lr.evaluate(model, records, label="unedited")]
    for name in options.editors.split(","):
        editor = lr.preset(name, "atlas")
        for layer in options.layers or [editor.layer]:
            label = f"{name}, layer {layer}"
            reports.append(
                lr.evaluate(
                    model, records, replace(editor, layer=layer), moments=world.moments, label=label, progress=True
                )
            )
    print(table(reports))


if __name__ == "__main__":
    main()
