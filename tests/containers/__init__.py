"""The image and the compose files, built and run on a real engine."""
