"""What Postlane says and hears: the Avro events as frozen dataclasses, record headers, causes."""
