"""Benchmarks (docs/performance.md). Not part of the installation; no other package imports them."""
