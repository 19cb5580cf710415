"""Which relay sends which mail."""
