"""How several senders share one relay's limits by leases: the allocator's side and the holder's side."""
