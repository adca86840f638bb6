"""Who may enter, and how often."""
