"""Benchmarks (docs/performance.md). Not part of the installation: nothing outside imports them."""
