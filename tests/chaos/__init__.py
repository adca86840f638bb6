"""Readers that come back, while what they read from is killed, frozen, restarted and cut off, by seed.

script       what the upstream says to each question, and so what each reader must have in the end
upstream     the upstream that says it
connections  HTTP and WebSockets to the proxy, which can all be reset at once
readers      good clients of the contract, on each door
fleet        the servers, their Redis and the proxy before them
faults       what happens to them, and when
verdicts     what is wrong with what readers got, and with what is kept
soak         one seed after another on the same fleet

`python -m tests.chaos --help` runs many; `tests/server/test_chaos.py` a few.
"""
