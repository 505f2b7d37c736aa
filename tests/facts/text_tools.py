"""Tokenizers of both families, and where a subject's tokens are by counting bytes: an oracle without offsets."""

from types import SimpleNamespace

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from lens_rome.surface import AbstractSurface, Encoding
from lens_rome.surface._bridge import BridgeSurface
from tests.helpers import GOLDEN

TRAINING_TEXT = [
    "The Eiffel Tower is located in the city of Paris. Towers tower over the city.",
    "The mother tongue of Danielle Darrieux is French; she was born in Bordeaux.",
    'A café called "Zoë" is in the city, said Ana.',
]


def byte_level() -> PreTrainedTokenizerFast:
    """GPT-2's kind: a space belongs to the word after it, characters may be cut into bytes."""
    return AutoTokenizer.from_pretrained(GOLDEN / "model")


def sentence_piece(*, llama: bool = False) -> PreTrainedTokenizerFast:
    """Llama's kind: spaces are `▁`, one is put before the text, unknown characters become bytes, BOS comes by itself.

    With `llama`, a normaliser puts the space there, as in Llama 2; else the pre-tokenizer, as in newer conversions.
    """
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    if llama:
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    special = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=special, show_progress=False)
    # Word by word, so that no token spans two of them.
    tokenizer.train_from_iterator((word for text in TRAINING_TEXT for word in text.split()), trainer)
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def text_surface(tokenizer: object) -> AbstractSurface:
    """A surface that can only tokenise: no model behind it."""
    return BridgeSurface(
        SimpleNamespace(cfg=SimpleNamespace(n_ctx=200, default_prepend_bos=False), tokenizer=tokenizer)
    )


def _byte_decoder() -> dict[str, int]:
    """From the printable characters of a byte-level vocabulary to bytes (GPT-2's table)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + i): byte for i, byte in enumerate(rest)}


def token_bytes(tokenizer: PreTrainedTokenizerFast, token: int) -> bytes:
    """The bytes of text that one token stands for."""
    piece = tokenizer.convert_ids_to_tokens(token)
    if piece.startswith("<0x"):
        return bytes([int(piece[3:5], 16)])
    if "<0x00>" in tokenizer.get_vocab():  # SentencePiece's kind
        return piece.replace("▁", " ").encode()
    decoder = _byte_decoder()
    return bytes(decoder[character] for character in piece)


def span_by_bytes(tokenizer: PreTrainedTokenizerFast, encoding: Encoding, start: int, subject: str) -> tuple[int, int]:
    """Half-open range of the tokens that hold a byte of the subject, which begins at character `start` of the text.

    The space that a SentencePiece tokenizer puts before the text is no part of the subject.
    """
    ids = encoding.ids[encoding.prepend_bos :]
    pieces = [token_bytes(tokenizer, token) for token in ids]
    text = b"".join(pieces)
    added = len(text) - len(encoding.text.encode())
    assert text[added:] == encoding.text.encode() and text[:added] in (b"", b" ")
    first = added + len(encoding.text[:start].encode())
    last = first + len(subject.encode())
    ends = [sum(len(piece) for piece in pieces[: i + 1]) for i in range(len(pieces))]
    hit = [i for i, end in enumerate(ends) if end > first and end - len(pieces[i]) < last]
    return hit[0] + encoding.prepend_bos, hit[-1] + 1 + encoding.prepend_bos
