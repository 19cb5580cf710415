"""`make demo`: real mail goes round, and every step is verified against the servers."""
