"""What holds for every sender: relays that are paused, recipients who must not be mailed."""
