"""How things are spelled: pure functions from bytes to requests and from batches to bytes."""
