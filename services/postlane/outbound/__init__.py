"""The outbound service: mail requests from Kafka to an SMTP relay."""
