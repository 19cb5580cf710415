"""What can be told of relays from outside the senders: their state, and what waits for them."""
