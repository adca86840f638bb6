"""Sessions and answers in Redis, shared by any number of processes and machines.

client     a URL -> redis-py's client of one server, a Sentinel's master or a Cluster
link       commands of everybody, gathered into pipelines on one connection
rows       how an answer is spelled in a Redis stream
keys       what everything is called there
writing    appending to the answers that are written here, fenced
mirrors    following those that are written elsewhere
presence   which processes are alive
post       what processes tell each other
streams, sessions, peers, windows    what the rest of the program sees
"""
