"""One service, and one job over many files, on the machines of a Ray cluster. An extra: ``sentiment-service[ray]``."""
