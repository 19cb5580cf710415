"""IMAP without a socket: bytes to responses, responses to facts, arguments to bytes (RFC 3501, RFC 9051)."""
