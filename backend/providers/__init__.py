"""Who writes answers: `demo` without any network, `openai` for every upstream that speaks its protocol."""
