"""The core: a chat answer is a log that one writer appends to and any number of readers follow.

The words used from the URL to the database column:

caller      who asks: an owner (empty for anonymous) and an address
session     a conversation, keyed by owner and session id
message     one turn kept in a session, `user` or `assistant`
parent      the message that another comes after: an answer's is its question
path        messages from a session's beginning to one of them, each the parent of the next
version     one of several questions that come after the same message, with all that follows it
request     one question as it arrived, checked (`ChatRequest`)
stream      one answer on its way; its id names the log
header      what is known of a stream before its first token
entry       one item of a log: a text piece (`str`) or a `Delta` that carries more than text
offset      the number of an entry in its log: 1, 2, 3 …
count       how many entries up to an offset had text; what the chat doors call `count` and `after`
batch       everything in a log past a reader's offset, handed over at once
closing     the last thing in a log, exactly one: `Finished` or `Failed`
provider    who writes answers: the built-in model or an upstream
door        a way in and out: HTTP with SSE, OpenAI's API, …
call        what a team's question is billed as: one generation, under a job
admission   what a question must pass before it is answered, told when the answer ended

This room imports the standard library and itself, blocks on plain primitives, and is given
spawn, clock and signals by a `ports.Runtime`.
"""
