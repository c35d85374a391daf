"""The same solver on a virtual clock: scenarios replayed, made up and broken, in milliseconds each.

recording         what attempts at a problem gave and took: recorded runs, our own journals, or drawn from a model
engine            plays them: attempts slow each other down, and faults strike at given times
run               one scenario, from problems to solutions and a trace that its seed fixes
random_scenarios  each fixed by its seed, with whatever goes wrong
invariants        what has to hold after any scenario
stress            many random scenarios, each checked
policy            ways to stop and to share time, by name
comparison        policies on the same scenarios, with paired bootstrap intervals
"""
