"""Training on reviews of any kind: sources with weights, word lists, generated texts, one vocabulary for all."""
