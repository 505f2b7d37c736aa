"""From a model and an editor to the story of one edit."""

from collections.abc import Callable, Sequence
from typing import Any

from lens_rome._typing import Model
from lens_rome.editing import Edit
from lens_rome.errors import EditError
from lens_rome.evaluation import generate
from lens_rome.facts import EditRequest, Fact
from lens_rome.studies.one_edit.questions import GROUPS, Question, check_edit_of, rewrite_question
from lens_rome.studies.one_edit.replies import Written, ask
from lens_rome.studies.one_edit.story import UNCHECKED, EditStory
from lens_rome.studies.probes import Finding
from lens_rome.studies.probes.making import Editor, Moments, edits_of
from lens_rome.surface import as_surface
from lens_rome.tracing import TraceResult, trace_kinds

KINDS = ("resid", "mlp", "attn")


def edit_story(
    model: Model,
    request: EditRequest,
    editor: Edit | Editor,
    *,
    moments: Moments = None,
    questions: Sequence[Question] = (),
    generation_prompts: Sequence[str] = (),
    probe: Callable[[Edit], Sequence[Finding]] | None = None,
    kinds: Sequence[str] = KINDS,
    noise_samples: int = 10,
    samples: int = 5,
    length: int = 40,
    prepend_bos: bool | None = None,
    seed: int = 0,
    unchecked: str | None = None,
    begin: Callable[[str], None] = lambda _: None,
) -> EditStory:
    """Trace the fact, make the edit, ask and let write the model before and after, and probe the edit.

    The model comes back as it was. Traced is the probability of `request.target_true` in the unedited model.

    Args:
        editor: makes the edit; or an edit of this request that is there already.
        questions: besides the edited prompt itself: `world_questions`, `record_questions`, or your own.
        generation_prompts: prompts that are continued freely.
        probe: gives findings about the edit; None for none.
        kinds: what traces restore; none for no trace.
        noise_samples: of each trace.
        samples: texts a prompt, each from its own stream of chance, the same before and after.
        length: tokens of a text, with its prompt.
        prepend_bos: where the edit does not tell which it was made with.
        seed: of noise and texts; the editor has its own.
        unchecked: of a `target_true` that is only what the model says: what is known of it, such as that there is no
            such fact; may be empty. None where it is known to be true.
        begin: is called with the name of each step as it begins: there are 5.

    Raises:
        FactError: no `target_true`, or a question with an object that has no tokens of its own.
        EditError: neither an edit nor an editor, fewer than 1 sample, an edit of another request, or one that the
            editor refuses; an edit of other weights (`EditMismatchError`).
        TraceError, SurfaceError, MomentError: as `trace` and the editor.
    """
    asked = _in_order([rewrite_question(request), *questions])
    if samples < 1:
        raise EditError(f"samples is a whole number from 1, got {samples}. Give no generation_prompts for no texts.")
    surface = as_surface(model)
    if isinstance(editor, Edit):
        check_edit_of(request, editor)
        editor.check(surface)
    begin("editing")
    edit = edits_of(model, editor, {"edit": request}, moments)[0]["edit"]
    bos = edit.provenance.get("prepend_bos", prepend_bos)
    begin("tracing")
    traces = _traces(model, request, kinds, noise_samples, bos, seed)
    begin("asking before and after")
    replies = ask(surface, asked, edit, bos)
    begin("writing before and after")
    texts = _texts(model, edit, generation_prompts, samples, length, bos, seed)
    begin("probing")
    findings = () if probe is None else tuple(probe(edit))
    settings: dict[str, Any] = {
        "model": edit.provenance.get("model"),
        "prepend_bos": bos,
        "seed": seed,
        "noise_samples": noise_samples,
        "samples": samples,
        "length": length,
        **({} if unchecked is None else {UNCHECKED: unchecked}),
    }
    return EditStory(request, edit, traces, replies, texts, findings, settings)


def _in_order(questions: Sequence[Question]) -> list[Question]:
    """Each question once, in the order of the groups."""
    order = list(GROUPS)
    return sorted(dict.fromkeys(questions), key=lambda each: order.index(each.group))


def _traces(
    model: Model, request: EditRequest, kinds: Sequence[str], samples: int, bos: bool | None, seed: int
) -> dict[str, TraceResult]:
    if not kinds:
        return {}
    fact = Fact(request.subject, request.template, request.target_true, request.relation)
    return trace_kinds(model, fact, kinds, answer=fact.target, samples=samples, prepend_bos=bos, seed=seed)


def _texts(
    model: Model, edit: Edit, prompts: Sequence[str], samples: int, length: int, bos: bool | None, seed: int
) -> tuple[Written, ...]:
    """The texts of each prompt, one after the other."""
    if not prompts:
        return ()
    asked = [prompt for prompt in prompts for _ in range(samples)]
    ids = [f"{prompt}\x1f{sample}" for prompt in prompts for sample in range(samples)]

    def written() -> list[str]:
        return generate(model, asked, length=length, seed=seed, ids=ids, prepend_bos=bos)

    before = written()
    with edit.applied(model):
        after = written()
    return tuple(Written(*each) for each in zip(asked, before, after, strict=True))
