"""A self-hosted sentiment service for review texts, and the training of the recurrent networks it serves."""
