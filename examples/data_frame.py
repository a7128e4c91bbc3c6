"""A column of a pandas data frame becomes labels."""

from __future__ import annotations

import pandas as pd

from sentiment_service import Sentiment, columns


def main() -> None:
    frame = pd.DataFrame(
        {
            "store": ["north", "north", "south", "south"],
            "review": ["Lovely staff, great prices.", "I love it here!", "Dirty, rude and overpriced.", None],
        }
    )
    with Sentiment() as sentiment:
        frame = frame.assign(**columns(sentiment.classify(frame["review"])))
    print(frame[["store", "label", "judgement", "error"]].fillna("-").to_string(index=False))
    print(frame.groupby("store")["rating"].mean().gt(5.5).to_dict())


if __name__ == "__main__":
    main()
