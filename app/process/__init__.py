"""The service's processes: their supervisor, signs of life, priorities, cores and sockets."""
