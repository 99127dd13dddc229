"""sparsegen: a compiler for pruned PyTorch models on x86 CPUs."""
