"""The forward pass on a CPU in C: the kernel, its build, and the predictor around it. Free of torch."""
