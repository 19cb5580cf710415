"""What relays' answers mean: transcripts of attempts, rules, judgements."""
