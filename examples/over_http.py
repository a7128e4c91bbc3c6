"""The same interface in front of a running service, with threads and with asyncio. Needs 'sentiment-service[http]'."""

from __future__ import annotations

import asyncio
import os
import sys

from sentiment_service import AsyncSentiment, Sentiment, ServiceError

ADDRESS = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8000"
KEY = os.environ.get("KEY")
REVIEWS = ["Great value, works perfectly.", "Broke after two days."]


async def later() -> None:
    async with AsyncSentiment(ADDRESS, key=KEY) as sentiment:
        async for result in sentiment.stream(REVIEWS):
            print(result.label)


def main() -> int:
    try:
        with Sentiment(ADDRESS, key=KEY, patience=60) as sentiment:
            for result in sentiment.classify(REVIEWS, deadline=300):
                print(result.label)
        asyncio.run(later())
    except ServiceError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
