"""Access tokens for relays: what a token endpoint's answer means, and when a token is renewed."""
