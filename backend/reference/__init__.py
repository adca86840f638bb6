"""What the doors take and give, as documents that programs read: OpenAPI for HTTP, AsyncAPI for sockets.

A request's schema is made from the model that validates it; an answer's from a model here, which tests hold
against real answers.
"""
