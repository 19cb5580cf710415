"""What people must be told of: `conditions` says what is wrong, `raising` when it is said, `notice` in which words."""
