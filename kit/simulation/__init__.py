"""The very solver on a virtual clock: contests replayed, made up and broken, in milliseconds each.

recording   what attempts at a problem gave and took: recorded runs, our own journals, or drawn from a model
engine      plays them: attempts slow each other down, and faults strike at given times
contest     one contest, from problems to solutions and a trace that its seed fixes
invariants  what has to hold after any contest
scenario    random contests for the invariants
policy      ways to stop and to share time, by name
comparison  policies on the same contests, with paired bootstrap intervals
"""
