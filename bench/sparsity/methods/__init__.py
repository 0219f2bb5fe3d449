"""One file per method; `bench.sparsity.catalogue` is their table."""
