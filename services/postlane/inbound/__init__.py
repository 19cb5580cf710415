"""The inbound service: IMAP mailboxes into Kafka."""
