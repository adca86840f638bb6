"""Measures Parley beside its peers: `make bench`.

server    a process that is measured, alone on its core
load      the clients, on another core together with the upstream
subject   one server's way of answering: through which door, out of which model
case      a subject at so many streams and at a pace
figures   what a case showed, medians of its runs
trait     one number about Parley, such as the memory of an idle socket
goal      what a number has to be
"""
