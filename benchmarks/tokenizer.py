"""Tokenizer speed: this project's against a compiled regular expression with a dictionary, and HuggingFace tokenizers.

    python -m benchmarks.tokenizer CORPUS [--texts 3000] [--rounds 7]

CORPUS is the review corpus, an archive or a folder. Every candidate turns the same texts into ids of the same size of
vocabulary, one text at a time, on one thread. This project's is there three times: with preprocessing version 1, with
version 2, and with version 2 and pieces in the vocabulary, into which unknown words are cut. Rounds are interleaved, so
that a change in the machine's speed hits all of them alike. Prints a Markdown table: median reviews per second, the
lowest and highest round, and median ids per second.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence, Sized
from pathlib import Path

# One thread for everybody; read by the library when it is imported.
os.environ["TOKENIZERS_PARALLELISM"] = "false"

from tokenizers import Tokenizer as HuggingFaceTokenizer
from tokenizers import models, normalizers, pre_tokenizers

from app.text import preprocessing2
from app.text.tokenizer import Tokenizer, build_vocabulary
from app.text.word_ids import PAD_TOKEN, UNKNOWN_TOKEN
from app.training.corpus import load_corpus
from app.training.reviews.vocabulary import build_pieces

VOCABULARY = 30_000
PIECES = 3_000
"""How many entries of the vocabulary are pieces, where some are."""
MAX_TOKENS = 400
HEAD_TOKENS = 100

Encode = Callable[[str], Sized]
"""A text to its ids."""


def ours(vocabulary: Sequence[str], preprocessing: int) -> Encode:
    """This project's tokenizer, with truncation and counts."""
    encode = Tokenizer(vocabulary, MAX_TOKENS, HEAD_TOKENS, preprocessing).encode
    return lambda text: encode(text).ids


def vocabulary_2(texts: Iterable[str], pieces: int) -> list[str]:
    """A vocabulary of preprocessing version 2 with so many pieces."""
    counts = Counter(word for text in texts for word in preprocessing2.words(text))
    special = [PAD_TOKEN, UNKNOWN_TOKEN, *preprocessing2.SPECIAL_TOKENS, preprocessing2.NOT]
    cut = build_pieces(counts, pieces) if pieces else []
    ranked = [word for word, _ in counts.most_common() if word not in special]
    return [*special, *ranked[: VOCABULARY - len(special) - len(cut)], *cut]


def regex_and_dictionary(vocabulary: Sequence[str]) -> Encode:
    """Lower case, one regular expression, one dictionary: no Unicode normalization, no tags, no truncation."""
    find = re.compile(r"\w+(?:'\w+)*|[!?]").findall
    ids = {word: index for index, word in enumerate(vocabulary)}
    return lambda text: [ids.get(word, 1) for word in find(text.lower())]


def hugging_face(vocabulary: Sequence[str]) -> Encode:
    """The ``tokenizers`` word-level pipeline: NFKC, lower case, split at white space and punctuation."""
    ids = {word: index for index, word in enumerate(vocabulary)}
    tokenizer = HuggingFaceTokenizer(models.WordLevel(ids, unk_token=UNKNOWN_TOKEN))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return lambda text: tokenizer.encode(text).ids


def reviews_per_second(encode: Encode, texts: Sequence[str]) -> float:
    """Rate of one pass over the texts."""
    started = time.perf_counter()
    for text in texts:
        encode(text)
    return len(texts) / (time.perf_counter() - started)


def ids_per_review(encode: Encode, texts: Sequence[str]) -> float:
    """How many ids a text gets on average."""
    return sum(len(encode(text)) for text in texts) / len(texts)


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description="Compare tokenizers on the corpus.")
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--texts", type=int, default=3000, help="first positive test reviews (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=7, help="default: %(default)s")
    args = parser.parse_args()
    corpus = load_corpus(args.corpus)
    texts = [review.text for review in corpus.test if review.label == 1][: args.texts]
    learned_from = [review.text for review in corpus.train]
    vocabulary = build_vocabulary(learned_from, VOCABULARY)
    candidates = {
        "app.text (this project), preprocessing 1": ours(vocabulary, 1),
        "app.text, preprocessing 2": ours(vocabulary_2(learned_from, 0), 2),
        "app.text, preprocessing 2, unknown words in pieces": ours(vocabulary_2(learned_from, PIECES), 2),
        "regular expression + dictionary": regex_and_dictionary(vocabulary),
        "HuggingFace tokenizers, word level": hugging_face(vocabulary),
    }
    rates: dict[str, list[float]] = {name: [] for name in candidates}
    for encode in candidates.values():
        reviews_per_second(encode, texts[:200])
    for _ in range(args.rounds):
        for name, encode in candidates.items():
            rates[name].append(reviews_per_second(encode, texts))
    mean = sum(map(len, texts)) / len(texts)
    print(
        f"{len(texts):,} reviews of {mean:,.0f} characters on average, {args.rounds} interleaved rounds, one thread\n"
    )
    print("| tokenizer | reviews/s, median | lowest to highest | ids/s, median |\n| --- | --- | --- | --- |")
    for name, found in rates.items():
        median = statistics.median(found)
        ids = median * ids_per_review(candidates[name], texts)
        print(f"| {name} | {median:,.0f} | {min(found):,.0f} to {max(found):,.0f} | {ids:,.0f} |")


if __name__ == "__main__":
    main()
