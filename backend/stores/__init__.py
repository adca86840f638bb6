"""Where sessions and answers are kept: `memory` in this process, `sqlite` in a file.

Each implements `chat.ports.SessionStore` and `chat.ports.StreamStore`; one contract suite holds for all.
"""
