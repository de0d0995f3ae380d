"""The parts of the benchmark: a file per part, with `measure(scale, device)`, which yields a line per comparison."""
