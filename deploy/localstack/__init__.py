"""Real servers for tests and the demo: Kafka, GreenMail and a relay that can be told to misbehave.

This is equipment, not product: nothing here imports `postlane`, and `postlane` imports nothing from here.
Everything binds to 127.0.0.1.
"""
