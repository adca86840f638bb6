"""What is done to a server to see how it does."""
