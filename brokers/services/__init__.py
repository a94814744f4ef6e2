"""All state changes of the room brokers."""
