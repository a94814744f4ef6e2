"""``python -m brokers.simulator``: run the broker simulator without Django."""

from brokers.simulator.server import main

main()
