"""The atlas's tokenizer: a small byte-level BPE in GPT-2's style.

It is trained with each sentence counted once, so that subjects' names, each rare, stay in pieces while common
words and objects become single tokens.
"""

from collections.abc import Iterable
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

END_OF_TEXT = "<|endoftext|>"


def train_tokenizer(sentences: Iterable[str], vocabulary: int) -> Tokenizer:
    """A byte-level BPE of `vocabulary` tokens trained on the distinct sentences; it adds no BOS by itself."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[AddedToken(END_OF_TEXT, special=True)],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(sorted(set(sentences)), trainer)
    return tokenizer


def save_tokenizer(tokenizer: Tokenizer, folder: Path, length: int) -> None:
    """Writes `tokenizer.json` and `tokenizer_config.json`, which `AutoTokenizer` reads without a network."""
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=length,
        clean_up_tokenization_spaces=False,
        **dict.fromkeys(("bos_token", "eos_token", "unk_token", "pad_token"), END_OF_TEXT),
    )
    wrapped.save_pretrained(folder)


def share_in_pieces(tokenizer: Tokenizer, names: Iterable[str]) -> float:
    """Share of the names that are two tokens or more, with a leading space."""
    counts = [len(tokenizer.encode(f" {name}").ids) for name in names]
    return sum(n >= 2 for n in counts) / len(counts)
