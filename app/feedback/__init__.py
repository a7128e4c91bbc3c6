"""Feedback: texts with their right labels, as people who know better send them, kept for evaluation and training."""
