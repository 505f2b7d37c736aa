"""Where the tokens of a subject and of an answer are."""

import json

import pytest
from transformers import PreTrainedTokenizerFast

from lens_rome.errors import FactError, SubjectSpanError, SurfaceError
from lens_rome.facts import Fact, answer_tokens, show_tokens, token_span, tokenize_prompt
from tests.facts.text_tools import byte_level, sentence_piece, span_by_bytes, text_surface
from tests.helpers import data_folder, gpt2_tokenizer

TOKENIZERS = {
    "byte-level": byte_level,
    "sentence-piece": sentence_piece,
    "llama": lambda: sentence_piece(llama=True),
}

PROMPTS = {
    "start": ("{} is located in the city of", "Eiffel Tower"),
    "end": ("The mother tongue of {}", "Danielle Darrieux"),
    "all": ("{}", "Eiffel Tower"),
    "after a space": ("The {} is in the city of", "Eiffel Tower"),
    "repeated, slot first": ("{} over the Tower", "Tower"),
    "repeated, slot last": ("Tower over the {}", "Tower"),
    "inside another word first": ("Towers, said the {} of", "Tower"),
    "in quotes": ('The "{}" is in', "Eiffel Tower"),
    "before a comma": ("In {}, the city", "Paris"),
    "before an apostrophe": ("{}'s mother tongue is", "Danielle Darrieux"),
    "glued on both sides": ("anti{}ism is", "Tower"),
    "in brackets": ("The city ({}) is", "Paris"),
    "accent at the end": ("A {} in the city", "café"),
    "accent at the start of a text": ("{} is in the city", "Éire"),
    "several bytes a character": ("The city {} is in", "日本"),
    "several bytes at the start": ("{}, said Ana", "日本"),
    "several bytes at the end": ("The city of {}", "東京"),
    "emoji": ("A {} in the city", "😀"),
    "emoji of several characters": ("{} is", "👩‍👩‍👧"),
    "glued emoji": ("city{}city is", "😀"),
    "several bytes before": ("日本 and {} is", "Tower"),
    "two spaces": ("The  {}  is", "Tower"),
    "new line": ("The city:\n{}\nis", "Paris"),
    "combining accent": ("The {} is", "Zoe\u0308"),
}


@pytest.fixture(params=TOKENIZERS, scope="module")
def tokenizer(request: pytest.FixtureRequest) -> PreTrainedTokenizerFast:
    return TOKENIZERS[request.param]()


@pytest.mark.parametrize("bos", [False, True], ids=["plain", "bos"])
@pytest.mark.parametrize("case", PROMPTS)
def test_the_span_holds_exactly_the_tokens_of_the_subject(
    tokenizer: PreTrainedTokenizerFast, case: str, bos: bool
) -> None:
    template, subject = PROMPTS[case]
    surface = text_surface(tokenizer)
    prompt = tokenize_prompt(surface, Fact(subject, template, "x"), bos)
    encoding = surface.encode(prompt.text, bos)
    assert prompt.subject_span == span_by_bytes(tokenizer, encoding, template.index("{}"), subject)
    assert prompt.subject_last == prompt.subject_span[1] - 1
    assert prompt.tokens == encoding.ids and len(prompt) == len(encoding) and prompt.prepend_bos == bos


@pytest.mark.parametrize("case", PROMPTS)
def test_bos_shifts_the_span_by_one(tokenizer: PreTrainedTokenizerFast, case: str) -> None:
    template, subject = PROMPTS[case]
    surface, fact = text_surface(tokenizer), Fact(subject, template, "x")
    plain, shifted = tokenize_prompt(surface, fact, False), tokenize_prompt(surface, fact, True)
    assert shifted.tokens == (tokenizer.bos_token_id, *plain.tokens)
    assert shifted.subject_span == tuple(end + 1 for end in plain.subject_span)
    assert shifted.token_strings == (tokenizer.bos_token, *plain.token_strings)


def test_the_slot_decides_which_occurrence_is_the_subject() -> None:
    surface = text_surface(byte_level())
    first = tokenize_prompt(surface, Fact("Tower", "{} over the Tower", "x"))
    last = tokenize_prompt(surface, Fact("Tower", "Tower over the {}", "x"))
    assert first.tokens == last.tokens
    assert first.subject_span[0] == 0 and last.subject_span[1] == len(last)


def test_text_before_the_template_moves_the_span() -> None:
    surface = text_surface(byte_level())
    fact = Fact("Tower", "Tower over the {}", "x")
    plain, prefixed = tokenize_prompt(surface, fact), tokenize_prompt(surface, fact, before="Tower. ")
    assert prefixed.text == "Tower. Tower over the Tower"
    assert prefixed.subject_span[1] == len(prefixed) > len(plain)
    assert prefixed.tokens[prefixed.subject_span[0]] == plain.tokens[plain.subject_span[0]]


def test_without_a_slot_the_first_occurrence_is_the_subject() -> None:
    surface = text_surface(byte_level())
    fact = Fact.from_prompt("The Tower and the Tower", "Tower", "x")
    assert fact.prompt == "The Tower and the Tower"
    prompt = tokenize_prompt(surface, fact, prepend_bos=True)
    assert prompt.token_strings[slice(*prompt.subject_span)] == (" Tower",) and prompt.subject_span == (2, 3)


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_tokenizers_padding_and_truncation_do_not_matter(side: str) -> None:
    usual, padding = byte_level(), byte_level()
    padding.padding_side = padding.truncation_side = side
    padding.model_max_length = 3
    fact = Fact("Eiffel Tower", "The {} is in the city of", "x")
    assert tokenize_prompt(text_surface(padding), fact) == tokenize_prompt(text_surface(usual), fact)


@pytest.mark.parametrize("text", ["The Eiffel Tower is in the city", "Tower  over\nthe city", "xyz is in the city"])
def test_shown_tokens_joined_give_the_text(tokenizer: PreTrainedTokenizerFast, text: str) -> None:
    bos, *strings = text_surface(tokenizer).encode(text, prepend_bos=True).strings
    # A token of its own for the space that SentencePiece puts before a text shows as that space.
    assert bos == tokenizer.bos_token and "".join(strings).removeprefix("▁") == text


def test_a_marked_prompt_stars_the_subject() -> None:
    prompt = tokenize_prompt(text_surface(byte_level()), Fact("Steve Jobs", "The {} is in", "x"), True)
    assert prompt.marked() == "|<|endoftext|>|The| S*|t*|eve*| Jobs*| is| in|"
    assert show_tokens(["a", "b"]) == "|a|b|"


def test_a_subject_that_is_not_in_the_prompt_is_an_error() -> None:
    with pytest.raises(SubjectSpanError, match=r"'Space Needle' is not in the prompt .*has '\{\}' where"):
        Fact.from_prompt("The Eiffel Tower is in", "Space Needle", "x")
    with pytest.raises(SubjectSpanError, match="subject '' is not in the prompt"):
        Fact.from_prompt("The Eiffel Tower is in", "", "x")
    with pytest.raises(FactError, match="has a slot"):
        Fact.from_prompt("The {} Tower is in", "Tower", "x")


def test_characters_that_no_token_covers_are_an_error_that_shows_the_tokens() -> None:
    encoding = text_surface(byte_level()).encode("The Tower", False)
    with pytest.raises(SubjectSpanError, match=r"no token covers characters 20 to 22 .*\|The\| Tower\|"):
        token_span(encoding, (20, 22))


@pytest.mark.parametrize("answer", ["Paris", " Paris", "Danielle Darrieux", "日本"])
def test_an_answer_is_what_the_prompt_continues_with(tokenizer: PreTrainedTokenizerFast, answer: str) -> None:
    surface, prompt = text_surface(tokenizer), "The city of"
    ids = answer_tokens(surface, prompt, answer, True)
    together = surface.encode(f"The city of {answer.strip()}", True).ids
    assert together[-len(ids) :] == ids and together[: -len(ids)] == surface.encode(prompt, True).ids


def test_an_answer_that_the_tokenizer_glues_to_the_prompt_is_refused() -> None:
    surface = text_surface(byte_level())
    # The space at the prompt's end would belong to the answer's first token.
    with pytest.raises(
        SubjectSpanError, match="Drop a trailing space or choose a template that ends with a whole word"
    ):
        answer_tokens(surface, "The city of ", "Paris")


@pytest.mark.parametrize("answer", ["", "  "])
def test_an_empty_answer_is_refused(answer: str) -> None:
    with pytest.raises(FactError, match="the answer is empty; give the text that should follow"):
        answer_tokens(text_surface(byte_level()), "The city of", answer)


def test_a_tokenizer_without_offsets_is_refused() -> None:
    class Slow:
        is_fast = False

    with pytest.raises(SurfaceError, match=r"tokenizer Slow gives no character offsets.*use_fast=True"):
        text_surface(Slow()).encode("text", False)


def test_bos_is_refused_where_the_tokenizer_has_none_and_is_then_no_default() -> None:
    tokenizer = byte_level()
    tokenizer.bos_token = None
    surface = text_surface(tokenizer)
    surface.cfg.default_prepend_bos = True
    assert not surface.prepends_bos()
    with pytest.raises(SurfaceError, match="the tokenizer has no BOS token; pass prepend_bos=False"):
        surface.encode("text", True)


def test_a_text_without_tokens_is_refused() -> None:
    with pytest.raises(SurfaceError, match="text '' has no tokens"):
        text_surface(byte_level()).encode("", False)


def test_all_known_facts_resolve_with_gpt2s_tokenizer() -> None:
    """The counts of `known_1000.json` that the released code's own span finder gives."""
    folder = data_folder()
    surface = text_surface(gpt2_tokenizer())
    records = json.loads((folder / "known" / "known_1000.json").read_text(encoding="utf-8"))
    assert len(records) == 1209 and len({record["subject"] for record in records}) == 1195
    lengths, spans, spills = [], [], 0
    for record in records:
        fact = Fact.from_prompt(record["prompt"], record["subject"], record["attribute"])
        prompt = tokenize_prompt(surface, fact)
        text = "".join(prompt.token_strings[slice(*prompt.subject_span)])
        spills += not text.endswith(record["subject"]) and not any(ord(character) > 127 for character in text)
        assert len(answer_tokens(surface, prompt.text, record["attribute"])) == 1
        lengths.append(len(prompt))
        spans.append(prompt.subject_span)
    sizes = [last - first for first, last in spans]
    assert (min(lengths), max(lengths), sorted(lengths)[604]) == (4, 27, 9)
    assert round(sum(lengths) / 1209, 2) == 9.67 and round(sum(sizes) / 1209, 2) == 4.41
    assert (sizes.count(1), sizes.count(2), max(sizes)) == (27, 141, 15)
    after = [length - last for length, (_, last) in zip(lengths, spans, strict=True)]
    assert (after.count(0), after.count(1)) == (0, 65)
    assert sum(first == 0 for first, _ in spans) == 1004 and spills == 1
