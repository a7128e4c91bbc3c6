"""Word lists of few languages: those of all take seconds to read, and the rules are the same."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from app.training.reviews import unreadable, wordlists


@pytest.fixture(scope="package", autouse=True)
def few_languages() -> Iterator[None]:
    """Spanish has Latin letters, Russian has not."""
    wordlists.foreign_words.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wordlists, "_LATIN_LANGUAGES", ("es",))
        patch.setattr(unreadable, "_LANGUAGES", ("es", "ru"))
        yield
    wordlists.foreign_words.cache_clear()
