"""Code of somebody who uses the package: strictly typed, here as part of the tests, and against the installed wheel."""

from __future__ import annotations

from collections.abc import Iterator

from sentiment_service import AsyncSentiment, Explanation, Feedback, Outcome, Result, Sentiment, SentimentError, columns


def reviews() -> Iterator[str]:
    yield "Great."


def use() -> list[str]:
    labels: list[str] = []
    with Sentiment() as sentiment:
        one: Result = sentiment.classify("Great.")
        labels.append(one.label.upper())
        many: list[Outcome] = sentiment.classify(["Great.", "Bad."])
        for result in many:
            if result.error is None:
                labels.append(f"{result.label} {result.score + 1:.2f}")
            else:
                labels.append(result.error.code)
        for result in sentiment.stream(reviews()):
            print(result.rating)
        why: Explanation = sentiment.explain("Great.", ["tokens"])
        kept: Feedback = sentiment.feedback("Great.", "positive", answer=one)
        print(kept.right)
        print([token.attribution + 1 for token in why.tokens], columns(many)["label"])
    return labels


async def later() -> float:
    try:
        async with AsyncSentiment("http://127.0.0.1:8000", key="k") as sentiment:
            result = await sentiment.classify("Great.")
            async for outcome in sentiment.stream(reviews()):
                print(outcome.label)
            return result.score
    except SentimentError as error:
        print(error)
        return 0.0
