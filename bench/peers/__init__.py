"""What Parley is measured beside: each does a part of what Parley does, as plainly as its library allows."""
