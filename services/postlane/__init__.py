"""Postlane: an event-streaming mail pipeline on Apache Kafka for ticketing systems."""
