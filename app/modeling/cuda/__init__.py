"""The forward pass on an NVIDIA GPU: one kernel reads a tile of texts from the first token to the last."""
