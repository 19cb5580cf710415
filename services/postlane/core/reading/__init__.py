"""From hostile bytes to a MailReceived: MIME, text, marks of tickets, classification."""
