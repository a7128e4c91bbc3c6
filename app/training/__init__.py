"""Corpus, training loop, evaluation and report: how the checkpoints in the model store come to be."""
