"""How many workers and Redis shards so many streams need: a simulation, checked against what was measured.

costs        what each step takes, as measured
simulation   workers with group commit, Redis shards, and the cores they run on
__main__     `python -m bench.capacity`: the tables of docs/scaling.md
"""
