"""From a request to the bytes of a message, the same every time."""
