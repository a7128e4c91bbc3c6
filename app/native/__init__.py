"""C code, its build, and its bindings: the forward pass on a CPU, and the tokenizer's plain path. Free of torch."""
