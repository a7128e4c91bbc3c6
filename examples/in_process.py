"""Texts scored in this process: no server, no PyTorch."""

from __future__ import annotations

from sentiment_service import Sentiment

REVIEWS = [
    "Great value, works perfectly.",
    "Broke after two days, and nobody answers my mails.",
    "It arrived on Tuesday.",
    "",
]


def main() -> None:
    with Sentiment() as sentiment:
        for review, result in zip(REVIEWS, sentiment.classify(REVIEWS), strict=True):
            if result.error is None:
                print(f"{result.label:<8} {result.judgement:<6} {review}")
            else:
                print(f"{'-':<8} {result.error.code}")
        explanation = sentiment.explain("The room was lovely. The breakfast was cold.")
        for sentence in explanation.sentences:
            print(f"{sentence.label:<8} {sentence.text}")


if __name__ == "__main__":
    main()
