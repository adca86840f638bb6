"""What the people who run it see: numbers and log lines."""
