"""The typed configuration: one TOML file plus POSTLANE_* environment variables."""
