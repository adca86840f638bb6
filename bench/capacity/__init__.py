"""How many workers and Redis shards so many streams need: a simulation, checked against what was measured.

plan         what is simulated
costs        what each step takes, as measured
clock        events in their order, and processes that take turns on cores
simulation   workers with group commit, Redis shards
__main__     `python -m bench.capacity`: the tables of docs/scaling.md
"""
