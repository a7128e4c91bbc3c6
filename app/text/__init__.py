"""From a review text to token ids: preprocessing, vocabulary, truncation, offsets. Free of torch and of the web."""
