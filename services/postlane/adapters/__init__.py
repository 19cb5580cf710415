"""I/O without decisions: Kafka, Avro, SMTP, IMAP, blobs, logs, metrics."""
