"""Who may enter, and how often.

origins    from which pages, and under which names, the server may be reached
keys       what tokens are checked with: a secret, a public key, or a key set (`jwks`)
tokens     signed tokens: whom one names, and making one
addresses  one spelling for each client address
windows    what happened within the last so many seconds, counted for each name
rates      the budget of a caller, and the refusals of an address
gate       all of it for one request: who calls, and may they
"""
