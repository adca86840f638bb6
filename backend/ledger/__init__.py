"""Who may spend, and who spent: teams, their virtual keys, jobs, calls and credits, in SQL.

team      who pays; its credits are `granted = free + held + spent`, none of them below 0
key       a virtual key, `sk-…`: what a team's programs show
group     a name for models that a team may be limited to
job       one business operation with one bill; its calls are made under it
call      one generation, known by its stream id, settled exactly once
hold      credits of a job that nothing else can spend until it ends
posting   one change of a team's credits, kept as an entry that is never changed:
          `grant` granted and free, `hold` free to held, `release` held to free, `charge` held to spent

Money is whole: credits, tokens, micro-USD (millionths of a dollar). Every operation is one transaction, and
doing one again with the same ids changes nothing.
"""
